"""The pictures of the experiments: lines and dots that are told apart in gray and by all eyes."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tltool.lecture.table import Row, groups, where

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe & Ito (2008, https://jfly.uni-koeln.de/color/), told apart by all eyes; each has a line
#: style and a marker of its own, for paper without colors.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("solid", "dashed", "dotted", "dashdot", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

LABELS = {
    "accuracy": "accuracy on test rows",
    "depth": "hidden layers",
    "lr": "learning rate",
}
"""What columns are called on an axis, if not by their name."""
_COLUMNS = 3
_MOST_MARKERS = 20
_LEVEL: Mapping[str, Any] = {"color": "0.5", "linewidth": 0.8}


@dataclass(frozen=True)
class Panel:
    """A column over another: the mean of all seeds as a line, and their range as a band.

    Args:
        x: Column of the horizontal axis. Where ``y`` holds a curve, ``x`` does too, or else is
            what the places in the curve are called, which are counted from 1.
        y: Column of the vertical axis. What is not finite, of a training that diverged, is left
            out, and a gap where nothing is left.
        by: Column whose values are the series; a series looks alike in all panels.
        xlabel: What the horizontal axis is, with its unit; by default what ``x`` is.
        ylabel: What the vertical axis is; by default what ``y`` is.
        title: Above the panel.
        where: Values of the rows that are drawn.
        log: The axes that are logarithmic: ``x``, ``y`` or ``xy``.
        ticks: Label each value of ``x``.
        level: Column of a value that a horizontal line shows.
        cap: How many times this value is the highest that is drawn, also for what is not finite.
    """

    x: str
    y: str
    by: str
    xlabel: str = ""
    ylabel: str = ""
    title: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    log: str = ""
    ticks: bool = False
    level: str = ""
    cap: float = math.inf

    def draw(self, axes: "Axes", rows: Sequence[Row]) -> None:
        """Draw it.

        Args:
            axes: Where.
            rows: Those of the experiment, also the ones that it leaves out.
        """
        names = list(groups(rows, self.by))
        rows = [row for row in where(rows, **self.where) if row.get(self.y) is not None]
        level = rows[0][self.level] if self.level else math.inf
        places: set[float] = set()
        for name, members in groups(rows, self.by).items():
            values: dict[float, list[float]] = {}
            for x, y in (point for row in members for point in self._curve(row)):
                most = self.cap * level
                values.setdefault(x, []).append(y if y <= most else most)  # NaN too.
            draw_series(axes, values, label=str(name), number=names.index(name))
            places |= set(values)
        if self.level:
            axes.axhline(level, **_LEVEL)
        axes.set(xlabel=self.xlabel or _label(self.x), ylabel=self.ylabel or _label(self.y))
        axes.set(**{f"{axis}scale": "log" for axis in self.log})
        axes.set_title(self.title, fontsize=10)
        if self.ticks:
            axes.set_xticks(sorted(places), [f"{place:g}" for place in sorted(places)])
            axes.minorticks_off()

    def _curve(self, row: Row) -> Iterable[tuple[float, float]]:
        x, y = row.get(self.x), row[self.y]
        if not isinstance(y, list | Tensor):
            return [(row[self.x], y)]
        values = [float(each) for each in y]
        return zip(x if isinstance(x, list) else range(1, len(values) + 1), values, strict=True)


def _label(column: str) -> str:
    return LABELS.get(column, column.replace("_", " "))


@dataclass(frozen=True)
class Dots:
    """A dot for each row, the names of a column below each other.

    Args:
        x: Column of the horizontal axis.
        by: Column of the names.
        xlabel: What the horizontal axis is, with its unit.
        low: Column of where an error bar begins; empty for no bars.
        high: Column of where it ends.
        where: Values of the rows that are drawn.
        level: Column of a value that a vertical line shows.
    """

    x: str
    by: str
    xlabel: str
    low: str = ""
    high: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    level: str = ""

    def draw(self, axes: "Axes", rows: Sequence[Row]) -> None:
        """Draw it; see `Panel.draw`."""
        names, rows = list(groups(rows, self.by)), where(rows, **self.where)
        drawn = groups(rows, self.by)
        for place, (name, members) in enumerate(drawn.items()):
            color, marker = COLORS[names.index(name) % len(COLORS)], MARKERS[place % len(MARKERS)]
            for row in members:
                axes.plot(row[self.x], place, marker, color=color, markersize=5, alpha=0.7)
                if self.low:
                    axes.plot([row[self.low], row[self.high]], [place, place], color=color)
        if self.level and math.isfinite(rows[0][self.level]):
            axes.axvline(rows[0][self.level], **_LEVEL)
        axes.set_yticks(range(len(drawn)), [str(name) for name in drawn], fontsize=8)
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.set_xlabel(self.xlabel)


def new_figure(num_panels: int = 1) -> "tuple[Figure, list[Axes]]":
    """Return a figure of some panels, up to three beside each other, as wide as the page.

    Args:
        num_panels: How many.
    """
    from matplotlib.figure import Figure

    columns = min(num_panels, _COLUMNS)
    lines = math.ceil(num_panels / columns)
    figure = Figure(figsize=(8.0, 0.7 + 2.7 * lines), layout="constrained")
    panels = [figure.add_subplot(lines, columns, place + 1) for place in range(num_panels)]
    for axes in panels:
        axes.grid(visible=True, color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def draw_series(
    axes: "Axes", values: Mapping[float, Sequence[float]], *, label: str, number: int
) -> None:
    """Draw a series as its mean over seeds, with their range as a band.

    Args:
        axes: Where.
        values: Those of the seeds by ``x``. What is not finite is left out.
        label: For the legend.
        number: Which series it is; decides color, line style and marker.
    """
    x = sorted(values)
    finite = [[each for each in values[place] if math.isfinite(each)] or [math.nan] for place in x]
    turn = number + number // len(COLORS)  # The next one of a color has another style.
    style: dict[str, Any] = {
        "color": COLORS[number % len(COLORS)],
        "linestyle": STYLES[turn % len(STYLES)],
        "marker": MARKERS[turn % len(MARKERS)] if len(x) <= _MOST_MARKERS else None,
    }
    means = [statistics.fmean(each) for each in finite]
    axes.plot(x, means, label=label, markersize=4, linewidth=1.4, **style)
    if any(len(each) > 1 for each in finite):
        low, high = [min(each) for each in finite], [max(each) for each in finite]
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)


def draw_legend(figure: "Figure") -> None:
    """Put one legend of all series below the panels."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        place: dict[str, Any] = {"loc": "outside lower center", "fontsize": 8}
        figure.legend(list(handles.values()), list(handles), ncols=min(len(handles), 4), **place)
