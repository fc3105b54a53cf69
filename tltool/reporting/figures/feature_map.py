"""Map of features: a point for each image, by class or value, what is wrong marked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from tltool.reporting.figures.axes import draw_legend, legend_label, new_figure, short_label
from tltool.reporting.figures.palette import COLORMAP, COLORS, series_style

MOST_CLASSES = len(COLORS) - 1  # Black is what is wrong.
_OTHERS = "0.75"


def draw_feature_map(
    points: Tensor, groups: Sequence[str] | Sequence[float], right: Sequence[bool]
) -> Figure:
    """Draw a map of images, see `map_features`.

    Classes differ in color and marker; of more than six the largest do, and the others are gray.
    What is predicted wrong has a black cross.

    Args:
        points: ``(n, 2)``.
        groups: The class of each image, or its value.
        right: Whether the prediction of each is right.

    Example:
        >>> import torch
        >>> figure = draw_feature_map(torch.eye(2), ["ants", "bees"], [True, False])
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['ants', 'bees', 'wrong']
    """
    figure, (axes, *_) = new_figure(width=7.0, height=5.2)
    x, y = points.numpy().T
    if all(isinstance(group, str) for group in groups):
        _draw_classes(axes, x, y, np.array(groups, dtype=object))
    else:
        drawn = axes.scatter(x, y, s=16, c=np.array(groups, dtype=float), cmap=COLORMAP)
        figure.colorbar(drawn, ax=axes, label="true value")
    wrong = ~np.array(right, dtype=bool)
    if wrong.any():
        axes.scatter(x[wrong], y[wrong], s=42, c="black", marker="x", linewidths=1, label="wrong")
    draw_legend(figure, axes)
    axes.set(xlabel="first principal component", ylabel="second principal component")
    return figure


def _draw_classes(axes: Axes, x: NDArray[Any], y: NDArray[Any], groups: NDArray[Any]) -> None:
    names, counts = np.unique(groups.astype(str), return_counts=True)
    largest = sorted(names[np.argsort(-counts, kind="stable")][:MOST_CLASSES])
    others = ~np.isin(groups.astype(str), largest)
    if others.any():
        axes.scatter(x[others], y[others], s=14, c=_OTHERS, label="other classes")
    for number, name in enumerate(largest):
        style, own = series_style(number), groups == name
        color, marker = style["color"], style["marker"]
        label = legend_label(short_label(name))
        axes.scatter(x[own], y[own], s=20, c=color, marker=marker, label=label, alpha=0.8)
