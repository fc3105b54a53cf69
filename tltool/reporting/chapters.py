"""The findings as chapters of plain text, for the report on Weights & Biases."""

from collections.abc import Sequence

from tltool.reporting.config_differences import config_differences
from tltool.reporting.health import ALARM_COLUMNS, NO_ALARM, alarm_rows
from tltool.reporting.run_page import SCORE_COLUMNS, MeasuredRun, score_rows
from tltool.reporting.runs import Runs
from tltool.reporting.runs_page import (
    DIFFERENCE_COLUMNS,
    RUN_COLUMNS,
    difference_note,
    difference_rows,
    run_row,
)
from tltool.reporting.schedule import PHASE_COLUMNS, phase_rows
from tltool.reporting.wandb.dashboard_sections import CLASSES, HEALTH, OTHERS, RESULT, SCHEDULE
from tltool.reporting.wandb.saved_report import Chapter

_TO_ANSWER = "Did it work, and how sure is that?"


def run_chapters(run: MeasuredRun) -> list[Chapter]:
    """Return what a reviewer asks about a run, in this order.

    Did it work, against what and how sure, what next; then what trained when, how it learned,
    how healthy it was, and how each class does.

    Args:
        run: The run, measured.
    """
    verdict, evaluation, plan = run.verdict, run.evaluation, run.plan
    rows = [] if evaluation is None else score_rows(evaluation, run.measured)
    phases = [plan] if isinstance(plan, str) else []
    best = run.record.best_epoch
    learned = [] if best is None else [f"The best validation accuracy was in epoch {best + 1}."]
    return [
        Chapter(
            _TO_ANSWER,
            answer=f"{verdict.mark} {verdict.answer}",
            sentences=[*verdict.reasons, *run.missing],
            columns=SCORE_COLUMNS,
            rows=rows,
        ),
        Chapter("What next?", sentences=[verdict.next_step], commands=verdict.commands),
        Chapter(
            "What trained when",
            sentences=phases,
            columns=PHASE_COLUMNS,
            rows=[] if isinstance(plan, str) else phase_rows(plan),
            sections=[SCHEDULE],
        ),
        Chapter("How it learned", sentences=learned, sections=[RESULT]),
        _health(run),
        Chapter("How each class does", sections=[CLASSES]),
        Chapter("What else was logged", sections=[OTHERS]),
    ]


def runs_chapters(found: Runs) -> list[Chapter]:
    """Return what a reviewer asks about several runs, in this order.

    Is there a difference, and how sure is that; what next; the runs; what differs in their
    configurations; then the same curves, health and classes as of one run, beside each other.

    Args:
        found: The runs, compared.
    """
    configs = [run.measured.record.config for run in found.runs]
    differing = config_differences(configs)
    several = len(found.sets) > 1
    return [
        Chapter(_TO_ANSWER, answer=found.sentences[0], sentences=found.sentences[1:]),
        *(
            Chapter(
                "Differences" + (f" on {photos.name}" if several else ""),
                sentences=[difference_note(photos)],
                columns=DIFFERENCE_COLUMNS,
                rows=difference_rows(photos),
            )
            for photos in found.sets
            if photos.differences
        ),
        Chapter("What next?", sentences=[found.next_step], commands=found.commands),
        Chapter("The runs", columns=RUN_COLUMNS, rows=[run_row(run) for run in found.runs]),
        Chapter(
            "What differs in the configuration",
            sentences=[] if differing else ["Nothing: they are the same run, repeated."],
            columns=["option", *(run.letter for run in found.runs)],
            rows=[(key, *values) for key, values in differing.items()],
            compares=True,
        ),
        Chapter("How they learned", sections=[RESULT]),
        Chapter("What trained when", sections=[SCHEDULE]),
        _health(*(run.measured for run in found.runs)),
        Chapter("How each class does", sections=[CLASSES]),
        Chapter("What else was logged", sections=[OTHERS]),
    ]


def title_of(runs: Sequence[MeasuredRun]) -> str:
    """Return the title of a report: the question, and the runs' folders."""
    names = [f"{run.record.folder.parent.name}/{run.record.folder.name}" for run in runs]
    return f"tltool: {', '.join(names)}"


def _health(*runs: MeasuredRun) -> Chapter:
    several = len(runs) > 1
    rows = [
        (*([run.record.folder] if several else []), *row)
        for run in runs
        for row in alarm_rows(run.record.alarms)
    ]
    return Chapter(
        "How healthy the network was",
        sentences=[] if rows else [NO_ALARM],
        columns=[*(["run"] if several else []), *ALARM_COLUMNS],
        rows=rows,
        sections=[HEALTH],
    )
