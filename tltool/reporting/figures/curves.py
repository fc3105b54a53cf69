"""Learning curves: metrics over epochs, a panel each, with the phases marked."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tltool._plain_text import one_line
from tltool.reporting.figures.axes import (
    draw_legend,
    draw_series,
    legend_label,
    mark_phase,
    new_figure,
)
from tltool.reporting.figures.palette import SPLITS

Curves = Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]
"""(epoch, value) pairs by the name of a series, by the label of the metric; epochs from 0."""
_LEVEL_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "0.25", "linestyle": (0, (6, 2)), "linewidth": 1.0},
    {"color": "0.55", "linestyle": (0, (2, 2)), "linewidth": 1.0},
)
_BEST_STYLE: dict[str, Any] = {"color": "0.25", "linestyle": ":", "linewidth": 1.0}
MOST_MARKED = 7
"""Series whose points are marked, and named inside the panel."""


def draw_curves(
    panels: Curves,
    *,
    phases: Mapping[str, float] | None = None,
    levels: Mapping[str, Mapping[str, float]] | None = None,
    best_epoch: int | None = None,
    title: str = "",
) -> Figure:
    """Draw metrics over epochs.

    Args:
        panels: A panel for each label of a metric.
        phases: The epoch in front of which each phase begins, by name.
        levels: What to compare with, such as baselines: values by name, by label of the metric.
        best_epoch: The epoch, from 0, whose weights were kept.
        title: Of all panels.
    """
    most = max(len(series) for series in panels.values())
    below = 0.09 * most if most > MOST_MARKED else 0
    figure, all_axes = new_figure(len(panels), width=4.8 * len(panels), height=3.1 + below)
    for axes, (label, series) in zip(all_axes, panels.items(), strict=True):
        for number, (name, points) in enumerate(series.items()):
            epochs, values = zip(*((epoch + 1, value) for epoch, value in points), strict=True)
            marks = most <= MOST_MARKED or len(points) == 1
            place = SPLITS.get(name, number)
            draw_series(axes, epochs, values, label=name, number=place, markers=marks)
        for name, start in (phases or {}).items():
            mark_phase(axes, start + 0.5, name)
        for number, (name, level) in enumerate((levels or {}).get(label, {}).items()):
            axes.axhline(level, label=legend_label(name), **_LEVEL_STYLES[number % 2])
        if best_epoch is not None:
            axes.axvline(best_epoch + 1, label="best epoch", **_BEST_STYLE)
        axes.set_xlabel("epoch")
        axes.set_ylabel(one_line(label), parse_math=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not below:
            axes.legend(fontsize=9)
    if below:
        draw_legend(figure, all_axes[0], columns=3)
    if title:
        figure.suptitle(one_line(title), parse_math=False)
    return figure
