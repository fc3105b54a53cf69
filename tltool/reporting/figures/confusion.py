"""Confusion matrix as a figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from tltool.reporting.figures.axes import new_figure
from tltool.reporting.figures.palette import COLORMAP

WITH_COUNTS = 20
"""Classes in whose matrix numbers can be read."""
WITH_NAMES = 60
"""Classes whose names have room; of more, the axes have their numbers from 1 on."""


def draw_confusion(counts: Tensor, class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix ``(num_classes, num_classes)``, rows are labels.

    Colors are shares of a row, so that rare classes can be seen; the numbers are images.
    """
    number = len(class_names)
    size = min(max(3.8, 0.45 * number + 1.8), 12)
    figure, (axes,) = new_figure(width=size, height=size, grid=False)
    shares = (counts.double() / counts.sum(dim=1, keepdim=True).clamp_min(1)).numpy()
    extent = (0.5, number + 0.5, number + 0.5, 0.5)
    image = axes.imshow(shares, cmap=COLORMAP, vmin=0, vmax=1, extent=extent)
    axes.set(xlabel="predicted class number", ylabel="true class number")
    if number <= WITH_NAMES:
        places = range(1, number + 1)
        # Names of classes may hold dollars.
        axes.set_xticks(places, class_names, rotation=90, parse_math=False)
        axes.set_yticks(places, class_names, parse_math=False)
        axes.set(xlabel="predicted class", ylabel="true class")
    for (row, column), share in np.ndenumerate(shares if number <= WITH_COUNTS else []):
        color = "black" if share > 0.5 else "white"
        text = str(int(counts[row, column]))
        axes.text(column + 1, row + 1, text, ha="center", va="center", color=color)
    figure.colorbar(image, label="share of the true class", shrink=0.7)
    return figure
