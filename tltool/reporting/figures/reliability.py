"""Reliability diagram: accuracy over confidence."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tltool.evaluation.accuracy import wilson
from tltool.evaluation.calibration import ReliabilityBin
from tltool.reporting.figures.axes import draw_legend, new_figure
from tltool.reporting.figures.palette import BLUE


def draw_reliability(bins: Sequence[ReliabilityBin]) -> Figure:
    """Draw the accuracy of predictions over their confidence.

    On the diagonal, confidence can be taken at its word (Guo et al., 2017,
    https://arxiv.org/abs/1706.04599, figure 1).
    """
    figure, (axes,) = new_figure(width=4.8, height=3.9)
    total = sum(each.num_images for each in bins)
    confidence = [each.confidence for each in bins]
    accuracy = [each.accuracy for each in bins]
    bounds = np.array([wilson(each.accuracy, each.num_images) for each in bins]).T
    below, above = np.abs(bounds - accuracy)
    axes.plot([0, 1], [0, 1], color="0.5", linestyle="dashed", label="perfectly calibrated")
    shares = [each.num_images / total for each in bins]
    axes.vlines(confidence, 0, shares, color="0.8", linewidth=7, label="share of the images")
    words, error = "accuracy, with 95 % interval", [below, above]
    axes.errorbar(confidence, accuracy, error, fmt="o", color=BLUE, ms=4, lw=1, label=words)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    draw_legend(figure, axes, columns=2)
    return figure
