"""Reliability diagram: accuracy over confidence."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from tltool.evaluation.accuracy import wilson
from tltool.evaluation.calibration import ReliabilityBin
from tltool.reporting.figures.palette import BLUE
from tltool.reporting.figures.panels import draw_legend, new_figure


def draw_reliability(bins: Sequence[ReliabilityBin]) -> Figure:
    """Draw how often predictions are right over how sure they are.

    On the diagonal, confidence can be taken at its word (Guo et al., 2017,
    https://arxiv.org/abs/1706.04599, figure 1).
    """
    figure, (axes,) = new_figure(width=4.8, height=3.9)
    total = sum(each.num_images for each in bins)
    confidence = [each.confidence for each in bins]
    accuracy = [each.accuracy for each in bins]
    ranges = [wilson(each.accuracy, each.num_images) for each in bins]
    below = [max(a - low, 0) for a, (low, _) in zip(accuracy, ranges, strict=True)]
    above = [max(high - a, 0) for a, (_, high) in zip(accuracy, ranges, strict=True)]
    axes.plot([0, 1], [0, 1], color="0.5", linestyle="dashed", label="as sure as right")
    shares = [each.num_images / total for each in bins]
    axes.vlines(confidence, 0, shares, color="0.8", linewidth=7, label="share of the images")
    axes.errorbar(
        confidence,
        accuracy,
        yerr=[below, above],
        fmt="o",
        color=BLUE,
        markersize=4,
        linewidth=1,
        label="right, with 95 % interval",
    )
    axes.set(xlabel="confidence", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.02))
    draw_legend(figure, axes, columns=2)
    return figure
