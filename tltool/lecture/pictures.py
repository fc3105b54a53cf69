"""Pictures of the experiments: lines with a band over seeds, declared as columns of rows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tltool.lecture.table import Row, groups, where

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {"accuracy": "accuracy on test rows", "depth": "hidden layers", "lr": "learning rate"}
"""What columns are called on an axis, if not by their name."""
_MOST_MARKERS = 20


@dataclass(frozen=True)
class ClaimPanel:
    """A column over another: the mean of all seeds as a line, and their range as a band.

    Args:
        x: Column of the horizontal axis. Where ``y`` holds a curve, ``x`` does too, or else is
            what the places in the curve are called, which are counted from 1.
        y: Column of the vertical axis. What is not finite, of a training that diverged, is left
            out, and a gap where nothing is left.
        by: Column whose values are the series; panels of one column have one legend.
        xlabel: What the horizontal axis is, with its unit; by default what ``x`` is.
        ylabel: What the vertical axis is; by default what ``y`` is.
        where: Values of the rows that are drawn.
        log: The axes that are logarithmic: ``x``, ``y`` or ``xy``.
        ticks: Draw the values of ``x``, which may be names, at equal distances, each labeled.
        level: Column of a value that a horizontal line shows.
        cap: How many times this value is the highest that is drawn, also for what is not finite.
    """

    x: str
    y: str
    by: str
    xlabel: str = ""
    ylabel: str = ""
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
        from tltool.reporting.figures.axes import draw_series

        rows = [row for row in where(rows, **self.where) if row.get(self.y) is not None]
        level = rows[0][self.level] if self.level else math.inf
        most = self.cap * level
        series = {
            name: groups((p for row in members for p in self._points(row)), "x")
            for name, members in groups(rows, self.by).items()
        }
        found = list(dict.fromkeys(x for points in series.values() for x in points))
        places = found if isinstance(found[0], str) else sorted(found)
        for number, (name, points) in enumerate(series.items()):
            x = [place for place in places if place in points]
            seeds = [[p["y"] if p["y"] <= most else most for p in points[place]] for place in x]
            draw_series(
                axes,
                [places.index(place) for place in x] if self.ticks else x,
                list(zip_longest(*seeds, fillvalue=math.nan)),
                label=str(name),
                number=number,
                markers=len(x) <= _MOST_MARKERS,
            )
        if self.level:
            axes.axhline(level, color="0.5", linewidth=0.8)
        axes.set(xlabel=self.xlabel or _label(self.x), ylabel=self.ylabel or _label(self.y))
        axes.set(**{f"{axis}scale": "log" for axis in self.log})
        if self.ticks:
            axes.set_xticks(range(len(places)), [str(place) for place in places])

    def _points(self, row: Row) -> Iterable[Row]:
        x, y = row.get(self.x), row[self.y]
        if not isinstance(y, list | Tensor):
            return [{"x": x, "y": y}]
        places = x if isinstance(x, list) else range(1, len(y) + 1)
        return [{"x": each, "y": float(value)} for each, value in zip(places, y, strict=True)]


def draw_panels(panels: Sequence[ClaimPanel], rows: Sequence[Row]) -> "Figure":
    """Return the picture of some rows: panels beside each other, with a legend of all series."""
    from tltool.reporting.figures.axes import draw_legend, new_figure

    figure, axes = new_figure(len(panels))
    legends: dict[str, Axes] = {}
    for place, panel in zip(axes, panels, strict=True):
        panel.draw(place, rows)
        legends.setdefault(panel.by, place)
    draw_legend(figure, *legends.values())
    return figure


def _label(column: str) -> str:
    return LABELS.get(column, column.replace("_", " "))
