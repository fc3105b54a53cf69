"""The page of one run."""

from dataclasses import dataclass, field
from typing import Literal

from tltool.data.loading.image_dataset import Decoder
from tltool.finetuning.plan import Plan
from tltool.reporting.evaluation import MAJORITY, PROBE, RUN, Evaluation
from tltool.reporting.figures import draw_curves
from tltool.reporting.health import health_section
from tltool.reporting.html import command, page, paragraph, picture, pictures, section, table, text
from tltool.reporting.predictions import calibration_section, confusion_section, photos_section
from tltool.reporting.run_record import RunRecord
from tltool.reporting.schedule import phase_starts, schedule_section
from tltool.reporting.verdict import Verdict, judge_run

SCORE_COLUMNS = ("", "accuracy \N{PLUS-MINUS SIGN} error", "95 % interval", "what it means")


@dataclass(frozen=True)
class MeasuredRun:
    """A run with what was found out about it afterwards.

    Attributes:
        record: What lies in its folder.
        plan: Its phases in numbers, or the sentence that says why they are not known.
        evaluation: Its predictions; ``None`` where there are none.
        missing: What could not be found out and why, in sentences.
        measured: Which checkpoint the predictions are of, in words.
        decode: Makes a photo from a path.
        mode: Of the photos.
        epochs_done: Epochs that were trained, with a begun one as a fraction.
        has_ended: Whether a metric ended its last phase.
    """

    record: RunRecord
    plan: Plan | str
    evaluation: Evaluation | None
    measured: str
    decode: Decoder
    mode: Literal["L", "RGB"]
    epochs_done: float
    has_ended: bool = False
    missing: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """What it achieved."""
        return judge_run(self.record, self.evaluation, ended=self.has_ended)


def baseline_meanings(evaluation: Evaluation, measured: str) -> dict[str, str]:
    """Return what each score means, in a sentence."""
    chosen = ", on the photos that chose it: a little too good" if evaluation.part == "val" else ""
    best = f"The checkpoint with the best validation accuracy{chosen}."
    probe = "Ridge regression on the frozen features: what the pretraining gives without training."
    return {
        MAJORITY: f"Always saying {evaluation.majority!r}; a model below it learned nothing.",
        PROBE: probe,
        RUN: measured or best,
    }


def render_run_page(run: MeasuredRun, *, made_with: str, photos: bool = True) -> str:
    """Return the page as HTML.

    Args:
        run: The run.
        made_with: Versions and time.
        photos: Whether photos are on the page; else their names only.
    """
    record, evaluation = run.record, run.evaluation
    measured: list[str] = []
    if evaluation is not None:
        measured = [
            confusion_section(evaluation),
            photos_section(evaluation, run.decode, run.mode, photos=photos),
            calibration_section(evaluation),
        ]
    body = [
        _answer(run),
        schedule_section(run.plan, run.epochs_done),
        _curves(run),
        health_section(record.health, record.alarms),
        *measured,
    ]
    return page(f"Run {record.folder}", body, made_with=made_with)


def _answer(run: MeasuredRun) -> str:
    verdict, alarms = run.verdict, run.record.alarms
    lines = [paragraph(f"{verdict.mark} {verdict.answer}", "verdict")]
    lines += [paragraph(reason) for reason in verdict.reasons]
    if alarms:
        causes = ", ".join(alarm["cause"] for alarm in alarms)
        lines.append(paragraph(f"\N{WARNING SIGN} Alarms, with remedies below: {causes}."))
    lines += [paragraph(sentence, "warning") for sentence in run.missing]
    lines.append(f"<p><b>Next.</b> {text(verdict.next_step)}</p>")
    lines += [command(line) for line in verdict.commands]
    scores = ""
    if run.evaluation is not None:
        scores = table(SCORE_COLUMNS, score_rows(run.evaluation, run.measured), numbers=(1, 2))
    return f'<div class="answer">{"".join(lines)}</div>{scores}'


def score_rows(evaluation: Evaluation, measured: str) -> list[tuple[str, ...]]:
    """Return one row for each score, see ``SCORE_COLUMNS``."""
    meanings = baseline_meanings(evaluation, measured)
    rows: list[tuple[str, ...]] = []
    for name, score in evaluation.scores.items():
        low, high = evaluation.interval(name)
        error = f"{score.accuracy:.3f} \N{PLUS-MINUS SIGN} {score.standard_error:.3f}"
        rows.append((name, error, f"{low:.3f} to {high:.3f}", meanings[name]))
    return rows


def _curves(run: MeasuredRun) -> str:
    metrics, title = run.record.metrics, "How it learned"
    images = []
    for name, label in (("loss", "cross-entropy loss"), ("accuracy", "accuracy")):
        series = {stage: metrics.get(f"{stage}/{name}", []) for stage in ("train", "val")}
        series = {stage: points for stage, points in series.items() if points}
        if series:
            figure = draw_curves(series, label, phases=phase_starts(run.plan))
            ends = ", ".join(f"{stage} {points[-1][1]:.4f}" for stage, points in series.items())
            images.append(picture(figure, f"The {label} over the epochs; at the end {ends}."))
    if not images:
        return section(title, paragraph("Nothing was measured: no epoch was finished."))
    best = run.record.best_epoch
    said = "" if best is None else f"The best validation accuracy was in epoch {best + 1}."
    return section(title, pictures(*images), paragraph(said, "small") if said else "")
