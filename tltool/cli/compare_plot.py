"""The pictures of `tltool compare`: learning curves, and accuracy over two axes."""

from pathlib import Path
from typing import Any

from tltool.comparison.result import Comparison
from tltool.comparison.variants import describe
from tltool.whole_file import save_figure

#: Okabe & Ito (2008, https://jfly.uni-koeln.de/color/): told apart by all eyes.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("solid", "dashed", "dotted", "dashdot")


def plot_curves(found: Comparison, path: Path) -> None:
    """Draw the losses of all heads over the epochs: in training, and on the photos that choose."""
    panels = {"training loss": "train_losses", "validation loss": "val_losses"}
    panels = {label: name for label, name in panels.items() if getattr(found.rows[0], name)}
    figure = _figure(5.5 * len(panels), 4.2 + 0.09 * len(found.rows))
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, name) in zip(all_axes, panels.items(), strict=True):
        for number, row in enumerate(found.rows):
            losses = getattr(row, name)
            axes.plot(
                range(1, len(losses) + 1),
                losses,
                color=COLORS[number % len(COLORS)],
                linestyle=STYLES[number // len(COLORS) % len(STYLES)],
                marker="." if len(losses) == 1 else None,
                label=row.name,
            )
        axes.set(xlabel="epoch", ylabel=label)
    handles, names = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=7)
    save_figure(figure, path)


def plot_heatmap(found: Comparison, path: Path) -> None:
    """Draw the accuracy of all heads over their first axis and the product of the others.

    What differs from the reference beyond noise has a frame. The colors span the error of an
    accuracy at least, so that noise is not painted as a difference.
    """
    settings = {row.name: found.variants[row.name].settings for row in found.rows}
    first = next((axis for each in settings.values() for axis in each), "")
    columns = list(dict.fromkeys(_cell(first, each) for each in settings.values()))
    lines = list(dict.fromkeys(_rest(first, each) for each in settings.values()))
    values = [[float("nan")] * len(columns) for _ in lines]
    findings = {d.name for d in found.findings if d.reference == found.reference}
    figure = _figure(3.0 + 1.1 * len(columns), 1.6 + 0.4 * len(lines))
    axes = figure.subplots()
    for row in found.rows:
        x = columns.index(_cell(first, settings[row.name]))
        y = lines.index(_rest(first, settings[row.name]))
        values[y][x] = row.accuracy.mean
        is_finding = row.name in findings
        frame = {"boxstyle": "round", "fc": "white", "ec": "black" if is_finding else "none"}
        text = f"{row.accuracy.mean:.3f}"
        axes.text(x, y, text, ha="center", va="center", fontsize=8, bbox=frame)
    low, high = _color_range(found)
    image = axes.imshow(values, cmap="cividis", aspect="auto", vmin=low, vmax=high)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(lines)), lines, fontsize=8)
    axes.set_title(f"frame: beyond noise unlike {found.reference}", fontsize=8)
    figure.colorbar(image, label="accuracy")
    save_figure(figure, path)


def _color_range(found: Comparison) -> tuple[float, float]:
    means = [row.accuracy.mean for row in found.rows]
    center = (min(means) + max(means)) / 2
    error = max(row.accuracy.interval[1] - row.accuracy.mean for row in found.rows)
    half = max(max(means) - center, error)
    return center - half, center + half


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _cell(axis: str, settings: Any) -> str:
    return describe(axis, settings[axis]) if axis in settings else "-"


def _rest(axis: str, settings: Any) -> str:
    return ", ".join(describe(a, value) for a, value in settings.items() if a != axis)
