"""Report on one run: schedule, curves, health, confusion matrix, classes, mistakes, calibration."""

from collections.abc import Mapping, Sequence

from tltool.diagnostics.health.alarms import DEAD, FAST, SATURATED
from tltool.evaluation.calibration import NUM_BINS, calibration_error
from tltool.evaluation.confusion import MANY_CLASSES
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.regression import RegressionPredictions
from tltool.finetuning.plan import Plan
from tltool.reporting import run_tables
from tltool.reporting.figures.confusion import draw_confusion
from tltool.reporting.figures.curves import Curves, draw_curves
from tltool.reporting.figures.layer_health import HEALTH_COLUMNS, draw_layer_health
from tltool.reporting.figures.reliability import draw_reliability
from tltool.reporting.figures.schedule import draw_schedule, lr_by_group
from tltool.reporting.html.images import picture
from tltool.reporting.html.render import PictureOnPage
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
    starts = []
    if isinstance(plan, Plan):
        starts = [planned.span.start / plan.steps_per_epoch for planned in plan.phases]
    return Report(
        run.title,
        run.verdict,
        [
            _schedule_section(plan, run.epochs_done),
            curve_section("Learning curves", run.record.curves, run.best_epoch, starts),
            health_section(run.record.health, run.record.alarms),
            *(predictions_sections(found, run if images else None) if found else []),
            *([map_section(found, run.feature_map)] if found and run.feature_map else []),
        ],
        run.missing,
        run_tables.score_table(found, run.measured) if found else None,
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


def curve_section(title: str, curves: Curves, note: str, phases: Sequence[float] = ()) -> Section:
    """Return a picture of each metric over the epochs, with its last values in words."""
    if not curves:
        sentences = ["Nothing was measured: no epoch was finished."]
        return Section(title, sentences, dashboard="result")
    pictures = []
    for label, series in curves.items():
        ends = ", ".join(f"{name} {points[-1][1]:.4f}" for name, points in series.items())
        words = f"The {label} over the epochs; at the end {ends}."
        pictures.append(picture(draw_curves({label: series}, phases=phases), words))
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
    words = "The share of each true class (row) by predicted class (column), bright where high."
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
        _calibration_section(found),
    ]


def _calibration_section(found: MeasuredSplit) -> Section:
    predictions = found.single_label
    bins, right = predictions.bins, predictions.accuracy
    sure = float(predictions.confidence.double().mean())
    words = (
        f"The mean confidence is {sure:.3f}, the accuracy {right:.3f}: "
        f"{'overconfident' if sure > right else 'underconfident'} by {abs(sure - right):.3f}. "
        f"Expected calibration error, over {NUM_BINS} bins: {calibration_error(bins):.3f}."
    )
    diagram = picture(draw_reliability(bins), "Accuracy over confidence (reliability diagram).")
    return Section("Calibration", [words], run_tables.reliability_table(bins), [diagram])
