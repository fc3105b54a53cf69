"""Confusion matrix as a figure."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from tltool.evaluation.confusion import MANY_CLASSES, label_counts, mistakes
from tltool.reporting.figures.axes import matrix_size, new_figure, short_label
from tltool.reporting.figures.palette import COLORMAP

WITH_COUNTS = 20
"""Classes in whose matrix numbers can be read."""
WITH_NAMES = 60
"""Classes whose names have room; of more, the axes have their numbers from 1 on."""


def draw_confusion(counts: Tensor, class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix ``(num_classes, num_classes)``, rows are labels.

    Colors are shares of a row, so that rare classes can be seen; the numbers are images. Of more
    than `MANY_CLASSES`, those are drawn that are confused most often.
    """
    total, (labeled, _, _) = len(class_names), label_counts(counts)
    chosen = list(range(total)) if total <= MANY_CLASSES else most_confused(counts, WITH_NAMES)
    number, drawn = len(chosen), _part(counts, chosen)
    names = [short_label(class_names[label]) if number <= WITH_NAMES else "" for label in chosen]
    size = matrix_size(names)
    figure, (axes,) = new_figure(width=size, height=size, grid=False)
    shares = (drawn.double() / labeled[chosen, None].clamp_min(1)).numpy()
    extent = (0.5, number + 0.5, number + 0.5, 0.5)
    image = axes.imshow(shares, cmap=COLORMAP, vmin=0, vmax=1, extent=extent)
    axes.set(xlabel="predicted class number", ylabel="true class number")
    if number <= WITH_NAMES:
        places = range(1, number + 1)
        # Names of classes may hold dollars.
        axes.set_xticks(places, names, rotation=90, parse_math=False)
        axes.set_yticks(places, names, parse_math=False)
        axes.set(xlabel="predicted class", ylabel="true class")
    if number < total:
        axes.set_title(f"the {number} classes confused most often; {total - number:,} more")
    for (row, column), share in np.ndenumerate(shares if number <= WITH_COUNTS else []):
        color = "black" if share > 0.5 else "white"
        text = str(int(drawn[row, column]))
        axes.text(column + 1, row + 1, text, ha="center", va="center", color=color)
    figure.colorbar(image, label="share of the true class", shrink=0.7)
    return figure


def most_confused(counts: Tensor, most: int) -> list[int]:
    """Return the classes of the most frequent mistakes, in order; the first ones without any.

    Example:
        >>> most_confused(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 2, 1]]), 2)
        [1, 2]
    """
    pairs = (label for each in mistakes(counts) for label in (each.label, each.predicted))
    chosen = list(dict.fromkeys(pairs)) or list(range(len(counts)))
    return sorted(chosen[:most])


def _part(counts: Tensor, chosen: Sequence[int]) -> Tensor:
    """Return the rows and columns of some classes, not sparse."""
    counts = counts.to_sparse().coalesce()
    places = torch.full((len(counts),), -1)
    places[chosen] = torch.arange(len(chosen))
    cells = places[counts.indices()]  # (2, number of pairs)
    is_inside = (cells >= 0).all(dim=0)
    part = torch.zeros(len(chosen), len(chosen), dtype=torch.long)
    part[tuple(cells[:, is_inside])] = counts.values()[is_inside]
    return part
