"""Report on one run: schedule, curves, health, confusion matrix, classes, mistakes, calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL.Image import Image

from tltool.diagnostics.health.alarms import DEAD, FAST, SATURATED
from tltool.evaluation.calibration import NUM_BINS, calibration_error
from tltool.evaluation.confusion import MANY_CLASSES
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.regression import RegressionPredictions
from tltool.evaluation.rejection import rejection_curve
from tltool.finetuning.plan import Plan
from tltool.reporting import run_tables
from tltool.reporting.figures.confusion import WITH_COUNTS, draw_confusion
from tltool.reporting.figures.curves import Curves, draw_curves
from tltool.reporting.figures.layer_health import HEALTH_COLUMNS, draw_layer_health
from tltool.reporting.figures.reliability import draw_reliability
from tltool.reporting.figures.risk_coverage import draw_risk_coverage
from tltool.reporting.figures.schedule import draw_schedule, lr_by_group
from tltool.reporting.html.images import picture, thumbnail
from tltool.reporting.html.render import PictureOnPage
from tltool.reporting.limit_tables import set_table
from tltool.reporting.map_section import map_section
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.multi_label_sections import multi_label_sections
from tltool.reporting.regression_sections import regression_sections
from tltool.reporting.report import Report, Section
from tltool.reporting.tables import class_table
from tltool.reporting.worst_mistakes import worst_section

MOST_IN_TABLE = 8
"""Classes whose confusion matrix fits a narrow screen as a table."""
MOST_CLASSES = 20
MOST_LAYERS = 40
NO_ALARM = "\N{CHECK MARK} No alarm was raised."
_LEGEND = (
    f"A ! or a cross marks what is beyond the limit of an alarm: {DEAD:.0%} dead, {FAST:.0%} of "
    f"the weights in one step. Saturation alarms from {SATURATED:.0%} on, for activations that "
    "saturate on both sides, such as tanh; relu is saturated on about half."
)

_SETS = (
    "A prediction set holds the true class as often as asked (split conformal prediction); tltool "
    "predict --coverage 0.9 writes them."
)

CsvRows = Sequence[Mapping[str, str]]


def run_report(run: MeasuredRun, *, images: bool = True) -> Report:
    """Return what a reviewer asks about a run, in this order.

    Did it work, against what and how sure, what next; then what trained when, how it learned,
    how healthy it was, and how each class does.

    Args:
        run: The run, measured.
        images: Whether to show images; else their names only, for they may be private.
    """
    found, plan = run.evaluation, run.plan
    return Report(
        run.title,
        run.verdict,
        [
            *([Section("What was trained", table=run.card)] if run.card else []),
            _schedule_section(plan, run.epochs_done),
            curve_section(
                "Learning curves",
                run.record.curves,
                run.best_epoch,
                phases=run.phase_starts,
                levels=run.baseline_levels,
                best_epoch=run.record.best_epoch,
            ),
            health_section(run.record.health, run.record.alarms),
            *(predictions_sections(found, run if images else None) if found else []),
            *([map_section(found, run.feature_map)] if found and run.feature_map else []),
        ],
        run.missing,
        run_tables.score_table(found, run.measured, has_chosen=run.record.has_chosen)
        if found
        else None,
    )


def _schedule_section(plan: Plan | str, epochs_done: float) -> Section:
    title = "Fine-tuning schedule"
    if isinstance(plan, str):
        return Section(title, [plan], dashboard="schedule")
    figure = draw_schedule(plan, lr_by_group(plan), epochs_done=epochs_done)
    words = "The learning rate of each layer group over the epochs, dark where it is low."
    return Section(
        title, (), run_tables.phase_table(plan), [picture(figure, words)], dashboard="schedule"
    )


def curve_section(title: str, curves: Curves, note: str, **marks: Any) -> Section:
    """Return a picture of each metric over the epochs, with its last values in words.

    Args:
        title: Of the section.
        curves: What was measured.
        note: Small print below.
        **marks: Phases, baselines and the best epoch, see `draw_curves`.
    """
    if not curves:
        sentences = ["Nothing was measured: no epoch was finished."]
        return Section(title, sentences, dashboard="result")
    pictures = []
    for label, series in curves.items():
        ends = ", ".join(f"{name} {points[-1][1]:.4f}" for name, points in series.items())
        words = f"The {label} over the epochs; at the end {ends}."
        pictures.append(picture(draw_curves({label: series}, **marks), words))
    return Section(title, pictures=pictures, note=note, dashboard="result")


def health_section(rows: CsvRows | None, alarms: CsvRows) -> Section:
    """Return alarms with suggested fixes, and each layer over time.

    Args:
        rows: Those of ``health.csv``; ``None`` if there is no such file.
        alarms: Those of ``alarms.csv``.
    """
    table = run_tables.alarm_table(alarms) if alarms else None
    title = "Layer health"
    if rows is None:
        said = "There is no health.csv: the run was stopped before the first rows, or trained with "
        return Section(title, [f"{said}--health.enabled false."], table, dashboard="health")
    columns = ("dead", "saturated", "largest_update")
    pictures = [each for column in columns for each in _health_picture(rows, column)]
    return Section(title, [] if alarms else [NO_ALARM], table, pictures, _LEGEND, "health")


def _health_picture(rows: CsvRows, column: str) -> list[PictureOnPage]:
    """Return a heatmap; of more than ``MOST_LAYERS`` layers the worst."""
    # NaN first, so that it hides no number.
    values = ((row, float(row[column])) for row in rows if row[column])
    seen = sorted(values, key=lambda pair: (pair[1] == pair[1], pair[1]))
    worst = dict.fromkeys(row["layer"] for row, _ in reversed(seen))
    shown = list(worst)[:MOST_LAYERS]
    figure = draw_layer_health([row for row in rows if row["layer"] in shown], [column])
    if figure is None:
        return []
    row, value = seen[-1]
    title = HEALTH_COLUMNS[column].title.capitalize()
    place = f"{row['layer']}, step {int(row['step']) + 1}"
    return [picture(figure, f"{title}; the highest is {value:.3g}, in {place}.")]


def predictions_sections(found: MeasuredSplit, run: MeasuredRun | None) -> list[Section]:
    """Return the confusion matrix, the metrics of each class, the worst mistakes, calibration.

    Of several labels an image and of numbers, see `multi_label_sections`, `regression_sections`.

    Args:
        found: The split that was measured.
        run: Decodes the images of the worst mistakes; ``None`` leaves them out.
    """
    if isinstance(found.predictions, MultiLabelPredictions):
        return multi_label_sections(found, found.predictions, run)
    if isinstance(found.predictions, RegressionPredictions):
        return regression_sections(found, found.predictions, run)
    names, mistakes = found.class_names, run_tables.mistake_table(found)
    classes = found.single_label.classes(names)
    words = "Rows are true classes, columns predicted ones; "
    words += "numbers are images, " if len(names) <= WITH_COUNTS else ""
    words += "the color is their share of the true class, bright where high."
    if len(names) > MANY_CLASSES:
        words += f" Of {len(names):,} classes, those that are confused most often."
    return [
        Section(
            "Confusion matrix",
            table=run_tables.confusion_table(found) if len(names) <= MOST_IN_TABLE else None,
            pictures=[picture(draw_confusion(found.confusion, names), words)],
            dashboard="classes",
        ),
        Section("Most frequent mistakes", table=mistakes)
        if mistakes.rows
        else Section("Most frequent mistakes", ["There is none: all images are predicted right."]),
        Section("Per-class metrics", table=class_table(classes, MOST_CLASSES)),
        *([worst_section(found, run)] if mistakes.rows else []),
        *([_overlay_section(found, run.overlays)] if run and run.overlays else []),
        _calibration_section(found),
        _rejection_section(found),
        trust_section(found),
    ]


def _overlay_section(found: MeasuredSplit, overlays: Mapping[int, Image]) -> Section:
    rows = run_tables.prediction_table(found, list(overlays)).cells
    right = found.single_label.correct
    pictures = []
    for (index, image), (name, predicted, label) in zip(overlays.items(), rows, strict=True):
        mark = "\N{CHECK MARK}" if right[index] else "\N{MULTIPLICATION X}"
        pictures.append(thumbnail(image, f"{mark} {predicted}, is {label}: {name}"))
    note = (
        "Bright is what speaks for the predicted class (Grad-CAM, Selvaraju et al., 2017): the "
        "worst mistakes first, then the least sure predictions."
    )
    return Section("Where the network looks", pictures=pictures, note=note, is_private=True)


def _rejection_section(found: MeasuredSplit) -> Section:
    predictions = found.single_label
    curve = rejection_curve(predictions.confidence, predictions.correct)
    figure = draw_risk_coverage(curve)
    words = (
        f"The mean risk over all coverages is {curve.area:.3f}, that of all images "
        f"{curve.risk[-1]:.3f}. To reject: tltool predict --reject_below, or --reject_risk."
    )
    shown = [picture(figure, "Risk over coverage: how often the surer predictions are wrong.")]
    return Section("Rejection", [words], run_tables.rejection_table(curve), shown)


def trust_section(found: MeasuredSplit) -> Section:
    """Return what speaks for and against the images and the predictions."""
    title, limits = "Can it be trusted?", found.limits
    if limits is None:
        said = "The checkpoint has no scores for prediction sets and unknown inputs: it is of a "
        said += "run that was stopped, or with too few images to validate."
        return Section(title, [*found.doubts, said])
    table = set_table(limits, found.class_names)
    return Section(title, [*found.doubts, *limits.sentences()], table, note=_SETS)


def _calibration_section(found: MeasuredSplit) -> Section:
    predictions = found.single_label
    bins, right = predictions.bins, predictions.accuracy
    sure = float(predictions.confidence.double().mean())
    words = (
        f"The mean confidence is {sure:.3f}, the accuracy {right:.3f}: "
        f"{'overconfident' if sure > right else 'underconfident'} by {abs(sure - right):.3f}. "
        f"Expected calibration error, over {NUM_BINS} bins: {calibration_error(bins):.3f}."
    )
    title = "Accuracy over confidence (reliability diagram)"
    pictures = [picture(draw_reliability(bins), f"{title}.")]
    if found.uncalibrated is not None:
        raw = found.uncalibrated.bins
        words += f" Without the temperature it is {calibration_error(raw):.3f}."
        pictures.append(picture(draw_reliability(raw), f"{title}, without the temperature."))
    sentences = [words, *filter(None, [found.calibration])]
    return Section("Calibration", sentences, run_tables.reliability_table(bins), pictures)
