"""The findings as chapters of plain text, for the report on Weights & Biases."""

from collections.abc import Sequence
from typing import Any

from tltool.reporting.compared_runs import ComparedRuns
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.run_page import NO_ALARM
from tltool.reporting.run_tables import accuracy_table, alarm_table, phase_table
from tltool.reporting.runs_page import SAME, difference_tables, options_table, runs_table
from tltool.reporting.tables import FactTable
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
    verdict, found, plan = run.verdict, run.evaluation, run.plan
    return [
        _chapter(
            _TO_ANSWER,
            accuracy_table(found, run.measured) if found else None,
            answer=f"{verdict.mark} {verdict.answer}",
            sentences=[*verdict.reasons, *run.missing],
        ),
        Chapter("What next?", sentences=[verdict.next_step], commands=verdict.commands),
        _chapter(
            "What trained when",
            None if isinstance(plan, str) else phase_table(plan),
            sentences=[plan] if isinstance(plan, str) else [],
            sections=[SCHEDULE],
        ),
        Chapter(
            "How it learned",
            sentences=[run.best_epoch] if run.best_epoch else [],
            sections=[RESULT],
        ),
        _health(run),
        Chapter("How each class does", sections=[CLASSES]),
        Chapter("What else was logged", sections=[OTHERS]),
    ]


def runs_chapters(found: ComparedRuns) -> list[Chapter]:
    """Return what a reviewer asks about several runs, in this order.

    Is there a difference, and how sure is that; what next; the runs; what differs in their
    configurations; then the same curves, health and classes as of one run, beside each other.

    Args:
        found: The runs, compared.
    """
    options = options_table(found)
    return [
        Chapter(_TO_ANSWER, answer=found.sentences[0], sentences=found.sentences[1:]),
        *(
            _chapter(title, differences, sentences=[note])
            for title, differences, note in difference_tables(found)
        ),
        Chapter("What next?", sentences=[found.next_step], commands=found.commands),
        _chapter("The runs", runs_table(found)),
        _chapter(
            "What differs in the configuration",
            options,
            sentences=[] if options.rows else [SAME],
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
    tables = [alarm_table(run.record.alarms) for run in runs]
    columns, rows = tables[0].columns, [row for table in tables for row in table.rows]
    if len(runs) > 1:
        columns = ["run", *columns]
        rows = [
            (run.record.folder, *row)
            for run, table in zip(runs, tables, strict=True)
            for row in table.rows
        ]
    return _chapter(
        "How healthy the network was",
        FactTable(columns, rows),
        sentences=[] if rows else [NO_ALARM],
        sections=[HEALTH],
    )


def _chapter(title: str, facts: FactTable | None, **parts: Any) -> Chapter:
    if facts is None:
        return Chapter(title, **parts)
    return Chapter(title, columns=facts.columns, rows=facts.cells, **parts)
