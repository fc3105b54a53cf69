"""Metrics of a model card, with 95 % intervals, and the classes that are recognized worse."""

from functools import partial

import torch
from torch import Tensor

from tltool.evaluation.accuracy import accuracy_interval
from tltool.evaluation.bootstrap import bootstrap_interval
from tltool.evaluation.calibration import calibration_error, reliability_bins
from tltool.evaluation.confusion import confusion_matrix, label_counts
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.predictions import PredictionSet
from tltool.evaluation.regression import RegressionPredictions
from tltool.reporting.tables import FactTable

MOST_CLASSES = 10
Measure = tuple[str, float, tuple[float, float] | None]


def measures(found: MeasuredSplit) -> list[Measure]:
    """Return name, value and 95 % interval, if known, of each metric, the network's score first."""
    value, _, interval = found.result
    first = (found.score.name, value, interval)
    predictions = found.predictions
    if isinstance(predictions, PredictionSet):
        return [first, *_single_label(predictions, len(found.class_names), found.groups)]
    if isinstance(predictions, MultiLabelPredictions):
        exact = accuracy_interval(predictions.exact, found.groups)
        return [first, ("exact match", exact.accuracy, exact.interval)]
    rest = predictions.intervals(found.groups)
    return [first, *((k, v.value, v.interval) for k, v in rest.items() if k != found.score.name)]


def weak_classes(found: MeasuredSplit) -> FactTable | None:
    """Return the classes that are recognized worst; ``None`` where labels are no classes.

    A class is provably weaker where its whole 95 % interval lies below the value of all images.
    """
    if isinstance(found.predictions, RegressionPredictions):
        return None
    rows, columns = _class_rows(found)
    rows.sort(key=lambda row: row[2])
    left = len(rows) - MOST_CLASSES
    note = f"{left:,} more classes are recognized at least as well." if left > 0 else ""
    shown = [
        (name, number, value, f"{low:.3f} to {high:.3f}", "yes" if high < whole else "")
        for name, number, value, (low, high), whole in rows[:MOST_CLASSES]
    ]
    return FactTable(columns, shown, (1, 2, 3), note)


ClassRow = tuple[str, int, float, tuple[float, float], float]


def _class_rows(found: MeasuredSplit) -> tuple[list[ClassRow], tuple[str, ...]]:
    predictions, names = found.predictions, found.class_names
    if isinstance(predictions, MultiLabelPredictions):
        whole = predictions.mean_average_precision
        rows = [
            (each.name, each.num_images, each.average_precision, each.interval, whole)
            for each in predictions.classes(names, found.groups)
            if each.num_images
        ]
        return rows, ("class", "images", "average precision", "95 % interval", "provably weaker")
    labels, correct, whole = found.single_label.labels, found.single_label.correct, 0.0
    whole = found.single_label.accuracy
    rows = []
    for number, name in enumerate(names):
        inside = (labels == number).nonzero()[:, 0]
        if len(inside):
            groups = found.groups and [found.groups[index] for index in inside.tolist()]
            share = accuracy_interval(correct[inside], groups)
            rows.append((name, len(inside), share.accuracy, share.interval, whole))
    return rows, ("class", "images", "recall", "95 % interval", "provably weaker")


def _single_label(
    found: PredictionSet, num_classes: int, groups: list[int] | None
) -> list[Measure]:
    everything = torch.arange(len(found))
    statistics = {
        "macro F1": partial(_macro_f1, found, num_classes),
        "calibration error": partial(_calibration, found),
    }
    return [
        (name, of(everything), bootstrap_interval(of, len(found), groups))
        for name, of in statistics.items()
    ]


def _macro_f1(found: PredictionSet, num_classes: int, rows: Tensor) -> float:
    """Return the mean F1 of the classes that occur, in the labels or in the predictions."""
    counts = confusion_matrix(found.labels[rows], found.predicted[rows], num_classes)
    labeled, predicted, right = label_counts(counts)
    occurring = (labeled + predicted) > 0
    f1 = 2 * right / (labeled + predicted).clamp_min(1)
    return float(f1[occurring].double().mean())


def _calibration(found: PredictionSet, rows: Tensor) -> float:
    return calibration_error(reliability_bins(found.confidence[rows], found.correct[rows]))
