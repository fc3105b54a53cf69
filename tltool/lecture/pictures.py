"""The pictures of the experiments: series that are told apart in grey and by all eyes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe & Ito (2008, https://jfly.uni-koeln.de/color/), told apart by all eyes; each has a line
#: style and a marker of its own, for paper without colors.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("solid", "dashed", "dotted", "dashdot", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def new_figure(num_panels: int = 1, *, height: float = 3.4) -> "tuple[Figure, list[Axes]]":
    """Return a figure of some panels beside each other, as wide as the page.

    Args:
        num_panels: How many.
        height: In inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, height), layout="constrained")
    axes = figure.subplots(1, num_panels, squeeze=False)[0]
    for each in axes:
        each.grid(visible=True, color="0.9", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def draw_series(
    axes: "Axes",
    x: Sequence[float],
    values: Any,
    *,
    label: str,
    number: int,
    markers: bool = True,
) -> None:
    """Draw a series as its mean over seeds, with their range as a band.

    Args:
        axes: Where.
        x: ``(N,)``.
        values: ``(N,)``, or ``(S, N)`` for some seeds; NaN where a seed came to nothing, such as
            a training that diverged: the others are drawn, and a gap where there is none.
        label: For the legend.
        number: Which series it is; decides color, line style and marker.
        markers: Mark each point.
    """
    rows = np.ma.masked_invalid(np.atleast_2d(np.asarray(values, dtype=float)))  # (S, N)
    style: dict[str, Any] = {
        "color": COLORS[number % len(COLORS)],
        "linestyle": STYLES[number % len(STYLES)],
        "marker": MARKERS[number % len(MARKERS)] if markers else None,
    }
    axes.plot(x, rows.mean(axis=0), label=label, markersize=4, linewidth=1.4, **style)
    if len(rows) > 1:
        low, high = rows.min(axis=0), rows.max(axis=0)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)


def draw_legend(figure: "Figure", *panels: "Axes", columns: int = 4) -> None:
    """Put one legend of some panels below all of them."""
    pairs = [axes.get_legend_handles_labels() for axes in panels]
    handles = [handle for each, _ in pairs for handle in each]
    labels = [label for _, each in pairs for label in each]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8)
