"""Average precision of classes as bars, and precision over recall as curves."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from tltool.evaluation.multi_label import LabelMetrics, MultiLabelPredictions
from tltool.reporting.figures.axes import draw_legend, legend_label, new_figure, short_label
from tltool.reporting.figures.palette import BLUE, VERMILION, series_style

MOST_BARS = 30
MOST_CURVES = 7


def draw_average_precision(classes: Sequence[LabelMetrics], num_images: int) -> Figure:
    """Draw the average precision of each class with its interval, the worst first.

    A mark shows what chance gives: the share of images that have the class.

    Args:
        classes: The metrics of each class; of many, the worst are drawn.
        num_images: Of the split.
    """
    seen = [each for each in classes if each.num_images]
    shown = sorted(seen, key=lambda each: each.average_precision)[:MOST_BARS][::-1]
    figure, (axes,) = new_figure(width=7.0, height=1.2 + 0.28 * max(len(shown), 1))
    places = range(len(shown))
    values = np.array([each.average_precision for each in shown])
    bounds = np.array([each.interval for each in shown]).reshape(-1, 2).T
    errors = np.abs(bounds - values)
    axes.barh(places, values, color=BLUE, alpha=0.75, label="average precision")
    axes.errorbar(values, places, xerr=errors, fmt="none", ecolor="black", elinewidth=1, capsize=2)
    chance = [each.num_images / num_images for each in shown]
    axes.plot(chance, places, "|", color=VERMILION, markersize=12, label="by chance")
    names = [f"{short_label(each.name)} ({each.num_images:,})" for each in shown]
    axes.set_yticks(places, names, fontsize=8, parse_math=False)
    axes.set(xlim=(0, 1), xlabel="average precision, 95 % interval")
    if len(shown) < len(seen):
        axes.set_title(f"the {len(shown)} worst of {len(seen)} classes", fontsize=9)
    draw_legend(figure, axes)
    return figure


def draw_precision_recall(found: MultiLabelPredictions, class_names: Sequence[str]) -> Figure:
    """Draw precision over recall of each class; of many, of those that are found worst.

    A dot is where the threshold of the class is.
    """
    classes = found.classes(class_names)
    seen = [label for label, each in enumerate(classes) if each.num_images]
    worst = sorted(seen, key=lambda label: classes[label].average_precision)[:MOST_CURVES]
    figure, (axes,) = new_figure(width=5.2, height=4.6)
    for number, label in enumerate(sorted(worst)):
        recall, precision = _curve(found.probabilities[:, label], found.targets[:, label])
        style = series_style(number, markers=False)
        name = legend_label(short_label(class_names[label]))
        axes.step(recall, precision, where="pre", linewidth=1.4, label=name, **style)
        if classes[label].precision:
            dot = classes[label].recall, classes[label].precision
            axes.plot(*dot, "o", color=style["color"], markersize=5)
    few = f"the {len(worst)} worst of {len(seen)} classes; " if len(worst) < len(seen) else ""
    axes.set_title(f"{few}dot: at the threshold", fontsize=9)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall", ylabel="precision")
    draw_legend(figure, axes, columns=2)
    return figure


def _curve(scores: Tensor, targets: Tensor) -> tuple[list[float], list[float]]:
    """Return recall and precision at each distinct score, from the highest on."""
    order = scores.argsort(descending=True, stable=True)
    _, sizes = torch.unique_consecutive(scores[order], return_counts=True)
    ends = sizes.cumsum(0) - 1
    hits = (targets[order] > 0).double().cumsum(0)[ends]
    precision = hits / (ends + 1)
    return [0.0, *(hits / hits[-1]).tolist()], [float(precision[0]), *precision.tolist()]
