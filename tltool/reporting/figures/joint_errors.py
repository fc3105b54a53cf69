"""Errors that occur together: a class that is missed where another is said wrongly."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from tltool.reporting.figures.axes import matrix_size, new_figure, short_label
from tltool.reporting.figures.palette import COLORMAP

MOST = 20


def draw_joint_errors(counts: Tensor, class_names: Sequence[str]) -> Figure:
    """Draw in how many images a class (rows) was missed and another (columns) was said wrongly.

    Args:
        counts: See `MultiLabelPredictions.confused`; of many classes, those with most are drawn.
        class_names: Names of the classes.
    """
    errors = counts.sum(dim=0) + counts.sum(dim=1)
    chosen = sorted(errors.argsort(descending=True, stable=True)[:MOST].tolist())
    drawn, names = counts[chosen][:, chosen].numpy(), [short_label(class_names[n]) for n in chosen]
    size = matrix_size(names)
    figure, (axes,) = new_figure(width=size, height=size, grid=False)
    image = axes.imshow(drawn, cmap=COLORMAP, vmin=0, vmax=max(int(drawn.max()), 1))
    places = range(len(chosen))
    axes.set_xticks(places, names, rotation=90, parse_math=False)
    axes.set_yticks(places, names, parse_math=False)
    axes.set(xlabel="said wrongly", ylabel="missed")
    for (row, column), number in np.ndenumerate(drawn):
        color = "black" if 2 * number > drawn.max() else "white"
        axes.text(column, row, str(number), ha="center", va="center", color=color, fontsize=8)
    if len(chosen) < len(counts):
        axes.set_title(f"the {len(chosen)} classes with most errors; {len(counts) - MOST:,} more")
    figure.colorbar(image, label="images", shrink=0.7)
    return figure
