"""Predicted over true values, and residuals."""

import itertools

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tltool._plain_text import one_line
from tltool.evaluation.regression import RegressionPredictions
from tltool.reporting.figures.axes import draw_legend, new_figure
from tltool.reporting.figures.palette import BLUE, VERMILION

MOST_DOTS = 3000
_NUM_BINS = 10


def draw_predicted(found: RegressionPredictions, target: str) -> Figure:
    """Draw predicted over true values; on the diagonal they are right.

    Args:
        found: The predictions.
        target: The name of what is predicted.
    """
    figure, (axes,) = new_figure(width=5.2, height=4.6)
    true, predicted = found.targets.double(), found.predicted.double()
    both = torch.cat([true, predicted])
    low, high = float(both.min()), float(both.max())
    axes.plot([low, high], [low, high], color="0.4", linewidth=1, label="right")
    _dots(axes, found, predicted)
    centers, means = _binned(found)
    axes.plot(centers, means, "s-", color=VERMILION, markersize=4, label="mean of predictions")
    name = one_line(target)
    axes.set_xlabel(f"true {name}", parse_math=False)
    axes.set_ylabel(f"predicted {name}", parse_math=False)
    draw_legend(figure, axes)
    return figure


def draw_residuals(found: RegressionPredictions, target: str) -> Figure:
    """Draw predicted less true values over the predicted ones, and how often each is.

    Args:
        found: The predictions.
        target: The name of what is predicted.
    """
    figure, (left, right) = new_figure(2, width=8.4, height=3.6)
    residuals, name = found.residuals, one_line(target)
    left.axhline(0, color="0.4", linewidth=1)
    chosen = _spread(len(found))
    left.plot(found.predicted[chosen], residuals[chosen], ".", color=BLUE, alpha=0.4, markersize=4)
    left.set_xlabel(f"predicted {name}", parse_math=False)
    left.set_ylabel("predicted less true")
    right.hist(residuals.tolist(), bins=30, color=BLUE, alpha=0.75)
    right.axvline(float(residuals.mean()), color=VERMILION, linewidth=1.4, label="mean")
    right.set(xlabel="predicted less true", ylabel="images")
    draw_legend(figure, right)
    return figure


def _dots(axes: Axes, found: RegressionPredictions, predicted: torch.Tensor) -> None:
    """Draw a dot for each image; of levels, beside each other."""
    chosen = _spread(len(found))
    true = found.targets[chosen].double()
    if len(found.levels) > 1:
        gap = min(b - a for a, b in itertools.pairwise(found.levels))
        true = true + gap / 4 * torch.linspace(-1, 1, 13)[torch.arange(len(chosen)) % 13]
    axes.plot(true, predicted[chosen], ".", color=BLUE, alpha=0.35, markersize=4, label="images")


def _spread(number: int) -> torch.Tensor:
    """Return at most `MOST_DOTS` positions, spread over all."""
    return torch.linspace(0, number - 1, min(number, MOST_DOTS)).long()


def _binned(found: RegressionPredictions) -> tuple[list[float], list[float]]:
    """Return the mean true and predicted value of each level, or of bins of equally many images."""
    order = found.targets.argsort(stable=True)
    groups = [order[rows] for rows in torch.arange(len(found)).tensor_split(_NUM_BINS) if len(rows)]
    if found.levels:
        places = found.in_levels[0]
        groups = [(places == place).nonzero()[:, 0] for place in torch.unique(places)]
    columns = found.targets.double(), found.predicted.double()
    true, predicted = ([float(values[group].mean()) for group in groups] for values in columns)
    return true, predicted
