"""Score of compared heads over two axes, with a frame around what is beyond noise."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from tltool._plain_text import one_line
from tltool.comparison.result import Comparison
from tltool.comparison.variants import describe
from tltool.reporting.figures.axes import new_figure
from tltool.reporting.figures.palette import COLORMAP


def draw_accuracy_heatmap(found: Comparison) -> Figure:
    """Draw the score of all heads over their first axis and the product of the others.

    What differs from the reference beyond noise has a frame. The colors span the error of a
    score at least, so that noise is not painted as a difference.
    """
    settings = {row.name: found.variants[row.name].settings for row in found.rows}
    first = next((axis for each in settings.values() for axis in each), "")
    columns = list(dict.fromkeys(_cell(first, each) for each in settings.values()))
    lines = list(dict.fromkeys(_rest(first, each) for each in settings.values()))
    values = [[float("nan")] * len(columns) for _ in lines]
    findings = {d.name for d in found.findings if d.reference == found.reference}
    width, height = 3.0 + 1.1 * len(columns), 1.6 + 0.4 * len(lines)
    figure, (axes,) = new_figure(width=width, height=height, grid=False)
    for row in found.rows:
        x = columns.index(_cell(first, settings[row.name]))
        y = lines.index(_rest(first, settings[row.name]))
        values[y][x] = row.result.mean
        is_finding = row.name in findings
        frame = {"boxstyle": "round", "fc": "white", "ec": "black" if is_finding else "none"}
        text = found.score.words(row.result.mean)
        axes.text(x, y, text, ha="center", va="center", fontsize=8, bbox=frame)
    low, high = _color_range(found)
    image = axes.imshow(values, cmap=COLORMAP, aspect="auto", vmin=low, vmax=high)
    plain: dict[str, Any] = {"fontsize": 8, "parse_math": False}
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", **plain)
    axes.set_yticks(range(len(lines)), lines, **plain)
    axes.set_title(one_line(f"frame: beyond noise unlike {found.reference}"), **plain)
    figure.colorbar(image, label=found.score.name)
    return figure


def comparison_curves(found: Comparison) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return the losses of all heads, for `draw_curves`: in training, and on the tuning split."""
    panels = {"training loss": "train_losses", "validation loss": "val_losses"}
    return {
        label: {row.name: list(enumerate(getattr(row, name))) for row in found.rows}
        for label, name in panels.items()
        if getattr(found.rows[0], name)
    }


def _color_range(found: Comparison) -> tuple[float, float]:
    means = [row.result.mean for row in found.rows]
    center = (min(means) + max(means)) / 2
    error = max(row.result.half_width for row in found.rows)
    half = max(max(means) - center, error)
    return center - half, center + half


def _cell(axis: str, settings: Mapping[str, Any]) -> str:
    return one_line(describe(axis, settings[axis])) if axis in settings else "-"


def _rest(axis: str, settings: Mapping[str, Any]) -> str:
    return one_line(", ".join(describe(a, value) for a, value in settings.items() if a != axis))
