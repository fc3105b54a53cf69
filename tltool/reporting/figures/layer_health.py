"""Health of the layers over time as heatmaps: dead units, saturation, gradients, updates."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tltool.diagnostics.health.alarms import DEAD, FAST
from tltool.reporting.figures.axes import new_figure
from tltool.reporting.figures.palette import COLORMAP

MOST_NUMBERED = 90
"""Cells of a heatmap that have room for their numbers."""


class HealthColumn(NamedTuple):
    """How a column of ``health.csv`` is drawn.

    Attributes:
        title: What the number is.
        limit: That of its alarm.
        most: Where the scale ends, unless a value is higher; ``None`` for powers of ten.
    """

    title: str
    limit: float | None = None
    most: float | None = None


HEALTH_COLUMNS = {
    "dead": HealthColumn("share of dead units", DEAD, 1.0),
    # A limit only for activations that saturate on both sides; relu is saturated on half.
    "saturated": HealthColumn("share of saturated pairs of image and unit", None, 1.0),
    "gradient": HealthColumn("gradient, log10"),
    "update": HealthColumn("update / weight, log10"),
    "largest_update": HealthColumn(
        "largest update of the weights, as a share of them", FAST, 1.2 * FAST
    ),
}


def draw_layer_health(
    rows: Sequence[Mapping[str, str]],
    columns: Sequence[str] = ("dead", "saturated", "gradient", "update"),
) -> Figure | None:
    """Draw rows of a ``health.csv``: layers from the input down, time to the right.

    Args:
        rows: The rows.
        columns: Which of `HEALTH_COLUMNS`, a panel each.

    Returns:
        The figure, or ``None`` where there is nothing to show.
    """
    columns = [name for name in columns if any(row[name] for row in rows)]
    rows = [row for row in rows if any(row[name] for name in columns)]
    if not rows:
        return None
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    steps = sorted({int(row["step"]) for row in rows})
    width, height = 4.8 * len(columns), 1.6 + 0.3 * len(layers)
    figure, all_axes = new_figure(len(columns), width=width, height=height, grid=False)
    for axes, name in zip(all_axes, columns, strict=True):
        grid = np.full((len(layers), len(steps)), np.nan)
        for row in rows:
            if row[name]:
                grid[layers.index(row["layer"]), steps.index(int(row["step"]))] = float(row[name])
        _draw_column(axes, grid, HEALTH_COLUMNS[name])
        shown = sorted({round(i) for i in np.linspace(0, len(steps) - 1, min(len(steps), 6))})
        axes.set_xticks(shown, [str(steps[i] + 1) for i in shown], fontsize=8)
        names = layers if axes is all_axes[0] else []
        axes.set_yticks(range(len(layers)), names, fontsize=8, parse_math=False)
        axes.set_xlabel("optimizer steps")
        axes.set_title(HEALTH_COLUMNS[name].title, fontsize=10)
    return figure


def _draw_column(axes: Axes, grid: np.ndarray, column: HealthColumn) -> None:
    """Draw a grid ``(num_layers, num_windows)``, what is beyond the limit marked."""
    low, high = None, None
    if column.most is None:
        grid = np.log10(np.where(grid > 0, grid, np.nan))
    else:
        low, high = 0.0, max(grid[np.isfinite(grid)].max(initial=0.0), column.most)
    image = axes.imshow(grid, aspect="auto", cmap=COLORMAP, vmin=low, vmax=high)
    axes.figure.colorbar(image, ax=axes, format=lambda value, _: f"{value:.3g}")
    beyond = np.nan_to_num(grid) >= (math.inf if column.limit is None else column.limit)
    if high is not None and grid.size <= MOST_NUMBERED:
        for (row, place), value in np.ndenumerate(grid):
            number = f"{value:.1%}" if high < 0.1 else f"{value:.0%}"
            number = "" if np.isnan(value) else number + " !" * bool(beyond[row, place])
            color = "white" if value < high / 2 else "black"
            axes.text(place, row, number, ha="center", va="center", fontsize=8, color=color)
    else:
        y, x = np.nonzero(beyond)
        axes.scatter(x, y, marker="x", s=12, color="black", linewidths=2.4)
        axes.scatter(x, y, marker="x", s=8, color="white", linewidths=1)
