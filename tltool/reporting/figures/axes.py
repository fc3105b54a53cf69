"""Empty figures with panels, series with a band over seeds, legends, and files to draw into."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from tltool._plain_text import one_line
from tltool.reporting.figures.palette import series_style

SUFFIXES = (".png", ".svg", ".pdf")
"""Of the files that figures are drawn into."""
LONGEST = 40
"""Characters of the name of a class: more would leave no room for the axes."""


def new_figure(
    num_panels: int = 1,
    *,
    width: float = 8.0,
    height: float = 3.4,
    num_rows: int = 1,
    grid: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Return a figure of some panels, and its panels row by row.

    Args:
        num_panels: How many stand beside each other.
        width: Of the figure, in inches.
        height: Of the figure, in inches.
        num_rows: How many rows of panels there are.
        grid: Whether a panel is a plot with grid lines; else an image with a frame.
    """
    mpl.rcParams["font.family"] = "DejaVu Sans"  # It comes with matplotlib, and has all our signs.
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(num_rows, num_panels, squeeze=False).flatten().tolist()
    for each in axes if grid else []:
        each.grid(visible=True, color="0.9", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_series(
    axes: Axes, x: Sequence[float], values: Any, *, label: str, number: int, markers: bool = True
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
    style = series_style(number, markers=markers)
    name = legend_label(label)
    axes.plot(x, rows.mean(axis=0), label=name, markersize=4, linewidth=1.4, **style)
    if len(rows) > 1:
        low, high = rows.min(axis=0), rows.max(axis=0)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)


def legend_label(name: str) -> str:
    r"""Return a name for a legend, where a dollar begins mathematics and an underscore hides.

    Example:
        >>> print(legend_label("$a$"), len(legend_label("_a")))
        \$a\$ 3
    """
    label = one_line(name).replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{label}" if label.startswith("_") else label


def short_label(text: str, most: int = LONGEST) -> str:
    """Return a text on one line as a figure has room for it: a long one without its middle.

    Example:
        >>> short_label("a" * 30 + "b" * 30, most=13)
        'aaaaa...bbbbb'
    """
    label, end = one_line(text), (most - 3) // 2
    return label if len(label) <= most else f"{label[: most - 3 - end]}...{label[-end:]}"


def matrix_size(names: Sequence[str]) -> float:
    """Return width and height of a matrix, in inches: for its cells, and for long names beside it.

    Example:
        >>> matrix_size(["ants", "bees"]), matrix_size(["ants"] * 99), matrix_size(["a" * 40])
        (3.8, 12.0, 6.6)
    """
    longest = max(map(len, names), default=0)
    room = 0.1 * max(longest - 12, 0)  # Shorter ones have it.
    return float(min(max(3.8, 0.45 * len(names) + 1.8) + room, 12.0))


def draw_legend(figure: Figure, *panels: Axes, columns: int = 4) -> None:
    """Put one legend of some panels below all of them."""
    handles = [handle for axes in panels for handle in axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)


def mark_phase(axes: Axes, place: float, name: str) -> None:
    """Mark where a phase begins, by a line with its name or number above the panel."""
    axes.axvline(place, color="black", linewidth=0.8)
    name, above = f" {one_line(name)}", axes.get_xaxis_transform()
    axes.text(place, 1.02, name, transform=above, fontsize=8, parse_math=False)
    axes.set_title(" ")  # Room for the names.


def as_image(figure: Figure) -> Image.Image:
    """Return a figure as an image in memory."""
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png")
    with Image.open(file) as image:
        return image.convert("RGB")
