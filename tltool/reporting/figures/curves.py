"""Learning curves: metrics over epochs, a panel each, with the phases marked."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tltool._plain_text import one_line
from tltool.reporting.figures.axes import draw_legend, draw_series, mark_phase, new_figure

Curves = Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]
"""(epoch, value) pairs by the name of a series, by the label of the metric; epochs from 0."""
MOST_MARKED = 7
"""Series whose points are marked, and named inside the panel."""


def draw_curves(panels: Curves, *, phases: Sequence[float] = (), title: str = "") -> Figure:
    """Draw metrics over epochs.

    Args:
        panels: A panel for each label of a metric.
        phases: The epoch in front of which each phase begins.
        title: Of all panels.
    """
    most = max(len(series) for series in panels.values())
    below = 0.09 * most if most > MOST_MARKED else 0
    figure, all_axes = new_figure(len(panels), width=4.8 * len(panels), height=3.1 + below)
    for axes, (label, series) in zip(all_axes, panels.items(), strict=True):
        for number, (name, points) in enumerate(series.items()):
            epochs, values = zip(*((epoch + 1, value) for epoch, value in points), strict=True)
            marks = most <= MOST_MARKED or len(points) == 1
            draw_series(axes, epochs, values, label=name, number=number, markers=marks)
        for number, start in enumerate(phases, start=1):
            mark_phase(axes, start + 0.5, str(number))
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
