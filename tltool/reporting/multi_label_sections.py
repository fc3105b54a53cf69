"""Sections of a report on several labels an image: classes, precision over recall, joint errors."""

from collections.abc import Sequence

from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.multi_label import LabelMetrics, MultiLabelPredictions
from tltool.reporting.figures.joint_errors import draw_joint_errors
from tltool.reporting.figures.label_metrics import draw_average_precision, draw_precision_recall
from tltool.reporting.html.images import picture
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.report import Section
from tltool.reporting.tables import FactTable
from tltool.reporting.worst_mistakes import worst_section

MOST_CLASSES = 20


def multi_label_sections(
    found: MeasuredSplit, predictions: MultiLabelPredictions, run: MeasuredRun | None
) -> list[Section]:
    """Return the metrics of each class, precision over recall, joint errors, the worst mistakes.

    Args:
        found: The split that was measured.
        predictions: Its predictions.
        run: Decodes the images of the worst mistakes; ``None`` leaves them out.
    """
    names = found.class_names
    classes = predictions.classes(names, found.groups)
    bars = picture(
        draw_average_precision(classes, len(predictions)),
        "The average precision of each class with its 95 % interval, beside that of chance.",
    )
    curves = picture(draw_precision_recall(predictions, names), "Precision over recall of classes.")
    exact = float(predictions.exact.double().mean())
    sentence = (
        f"Macro F1 {predictions.macro_f1:.3f}, and {exact:.3f} of the images have exactly their "
        "classes, at the threshold of each class."
    )
    table = label_table(classes, MOST_CLASSES)
    sections = [Section("Per-class metrics", [sentence], table, [bars], dashboard="classes")]
    sections.append(Section("Precision and recall", pictures=[curves]))
    joint = predictions.confused()
    if joint.any():
        words = "How often a class (row) was missed where another (column) was said wrongly."
        sections.append(
            Section(
                "Joint errors", [words], pictures=[picture(draw_joint_errors(joint, names), words)]
            )
        )
    return [*sections, worst_section(found, run)] if predictions.worst_errors() else sections


def label_table(
    classes: Sequence[LabelMetrics], most: int | None = None, *, intervals: bool = True
) -> FactTable:
    """Return one row for each class; of more than ``most``, the lowest average precisions.

    Args:
        classes: The metrics of each class.
        most: How many are shown.
        intervals: Whether that of the average precision is known: it is not, where images of one
            group may be alike.

    Example:
        >>> ants = LabelMetrics("ants", 2, 0.5, (0.1, 0.9), 1.0, 0.5, 2 / 3, 0.4)
        >>> label_table([ants]).cells
        [['ants', '2', '0.500', '0.100 to 0.900', '1.000', '0.500', '0.667', '0.400']]
    """
    note = ""
    if most is not None and len(classes) > most:
        note = f"{len(classes) - most:,} more classes have an average precision at least as high."
        # NaN last: a class without an image.
        order = sorted(classes, key=lambda each: (not each.num_images, each.average_precision))
        classes = order[:most]
    rows = []
    for each in classes:
        low, high = each.interval
        area = (each.average_precision, f"{low:.3f} to {high:.3f}") if each.num_images else ("", "")
        shown = area if intervals else area[:1]
        rows.append((each.name, each.num_images, *shown, *each[4:]))
    known = ("95 % interval",) if intervals else ()
    columns = ("class", "images", "average precision", *known, "precision", "recall")
    return FactTable((*columns, "F1", "threshold"), rows, range(1, 7 + len(known)), note)
