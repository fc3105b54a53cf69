"""The HTML page of one run."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tltool.diagnostics.health.alarms import DEAD, FAST, SATURATED
from tltool.evaluation.calibration import NUM_BINS, calibration_error
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.reporting.figures.confusion import draw_confusion
from tltool.reporting.figures.curves import Curves, draw_curves
from tltool.reporting.figures.layer_health import HEALTH_COLUMNS, draw_layer_health
from tltool.reporting.figures.reliability import draw_reliability
from tltool.reporting.figures.schedule import draw_schedule, lr_by_group
from tltool.reporting.html.images import data_uri, picture, thumbnail
from tltool.reporting.html.render import PictureOnPage, render
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.run_tables import (
    accuracy_table,
    alarm_table,
    mistake_table,
    numbered,
    phase_table,
    prediction_table,
    reliability_table,
)
from tltool.reporting.tables import class_table

MOST_IN_TABLE = 8
"""Classes whose matrix fits a narrow screen as a table."""
MOST_CLASSES = 20
NUM_IMAGES = 12
MOST_LAYERS = 40
NO_ALARM = "\N{CHECK MARK} No alarm was raised."
_LEGEND = (
    f"A ! or a cross marks what is beyond the limit of an alarm: {DEAD:.0%} dead, {FAST:.0%} of "
    f"the weights in one step. Saturation alarms from {SATURATED:.0%} on, for activations that "
    "saturate on both sides, such as tanh; relu is saturated on about half."
)

CsvRows = Sequence[Mapping[str, str]]


def render_run_page(run: MeasuredRun, *, made_with: str, images: bool = True) -> str:
    """Return the page as HTML.

    Args:
        run: The run.
        made_with: Versions and time.
        images: Whether images are on the page; else their names only, for they may be private.
    """
    record, found, verdict, plan = run.record, run.evaluation, run.verdict, run.plan
    causes = ", ".join(alarm["cause"] for alarm in record.alarms)
    alarms = [f"\N{WARNING SIGN} Alarms, with remedies below: {causes}."] if causes else []
    schedule, starts = None, []
    if not isinstance(plan, str):
        starts = [planned.span.start / plan.steps_per_epoch for planned in plan.phases]
        schedule = picture(
            draw_schedule(plan, lr_by_group(plan), epochs_done=run.epochs_done),
            "The learning rate of each layer group over the epochs, dark where it is low.",
        )
    return render(
        "run.html.jinja",
        title=f"Run {record.folder}",
        made_with=made_with,
        sentences=[f"{verdict.mark} {verdict.answer}", *verdict.reasons, *alarms],
        verdict=verdict,
        missing=run.missing,
        accuracies=found and accuracy_table(found, run.measured),
        schedule=schedule,
        phases=plan if isinstance(plan, str) else phase_table(plan),
        curve_pictures=curve_pictures(record.curves, starts),
        best_epoch=run.best_epoch,
        health=health_section(record.health, record.alarms),
        predictions=found and predictions_section(found, run if images else None),
    )


def curve_pictures(curves: Curves, phases: Sequence[float] = ()) -> list[PictureOnPage]:
    """Return a picture of each metric over the epochs, with its last values in words."""
    pictures = []
    for label, series in curves.items():
        ends = ", ".join(f"{name} {points[-1][1]:.4f}" for name, points in series.items())
        words = f"The {label} over the epochs; at the end {ends}."
        pictures.append(picture(draw_curves({label: series}, phases=phases), words))
    return pictures


def health_section(rows: CsvRows | None, alarms: CsvRows) -> dict[str, Any]:
    """Return what the page shows about health.

    Args:
        rows: Those of ``health.csv``; ``None`` if there is no such file.
        alarms: Those of ``alarms.csv``.
    """
    columns = ("dead", "saturated", "largest_update")
    return {
        "alarms": alarm_table(alarms),
        "is_recorded": rows is not None,
        "no_alarm": NO_ALARM,
        "pictures": [each for column in columns for each in _health_picture(rows or [], column)],
        "legend": _LEGEND,
    }


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
    place = f"{value:.3g} in {row['layer']}, at step {int(row['step']) + 1}"
    return [picture(figure, f"The highest {HEALTH_COLUMNS[column].title}: {place}.")]


def predictions_section(found: MeasuredSplit, run: MeasuredRun | None) -> dict[str, Any]:
    """Return what the page shows about predictions.

    Args:
        found: The split that was measured.
        run: Decodes the images of the worst mistakes; ``None`` leaves them out.
    """
    names, predictions = found.class_names, found.predictions
    worst = predictions.worst_errors()[:NUM_IMAGES]
    table, bins = prediction_table(found, worst), predictions.bins
    confusion_picture = None
    if len(names) > MOST_IN_TABLE:
        words = "The share of each true class that was taken for each class, bright where high."
        confusion_picture = picture(draw_confusion(found.confusion, names), words)
    thumbnails = []
    for index, row in zip(worst if run else [], table.rows, strict=False):
        assert run is not None  # noqa: S101  # else there is nothing to go through
        content = thumbnail(run.decode(found.paths[index], mode=run.mode))
        thumbnails.append((PictureOnPage(data_uri(content, "jpeg"), str(row[0])), row))
    sure, right = float(predictions.confidence.double().mean()), predictions.accuracy
    gap = "too sure" if sure > right else "not sure enough"
    return {
        "confusion_picture": confusion_picture,
        "numbered": numbered(names),
        "confusion": _shaded(found),
        "mistakes": mistake_table(found),
        "classes": class_table(predictions.classes(names), MOST_CLASSES),
        "worst": table,
        "thumbnails": thumbnails,
        "calibration": f"On average it is {sure:.3f} sure and {right:.3f} right: "
        f"{abs(sure - right):.3f} {gap}. Expected calibration error, over {NUM_BINS} bins: "
        f"{calibration_error(bins):.3f}.",
        "reliability": picture(
            draw_reliability(bins), "Share of right predictions over confidence."
        ),
        "bins": reliability_table(bins),
    }


def _shaded(found: MeasuredSplit) -> list[tuple[str, list[tuple[Markup, str]]]]:
    """Return the confusion matrix row by row: the class, and each count with how dark it is."""
    counts = found.confusion
    # Light enough for dark letters on it; the right ones are bold too.
    shares = (0.5 * counts / counts.sum(dim=1, keepdim=True).clamp_min(1)).tolist()
    rows = []
    for number, name in enumerate(numbered(found.class_names)):
        texts = [
            f"<b>{n:,}</b>" if i == number else f"{n:,}"
            for i, n in enumerate(counts[number].tolist())
        ]
        shades = [f"{share:.2f}" for share in shares[number]]
        rows.append((name, list(zip(map(Markup, texts), shades, strict=True))))
    return rows
