"""The picture of signals through depth: their spread, and some of their histograms."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tltool.layers.activation_behavior import activation_behavior
from tltool.lecture.pictures import STYLES, draw_legend, draw_series
from tltool.lecture.signals import Signals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST = 1e-3
"""The smallest share that a histogram shows."""
FURTHEST = 4.0
"""Standard deviations of the first layer that a histogram of an unbounded activation shows."""


def draw_signals(signals: Mapping[tuple[str, str], Sequence[Signals]]) -> "Figure":
    """Draw standard deviations by layer, and histograms of the first, a middle and the last layer.

    Args:
        signals: By activation and initializer, for each seed; the histograms are of the first seed.
    """
    from matplotlib.figure import Figure

    activations = list(dict.fromkeys(activation for activation, _ in signals))
    initializers = list(dict.fromkeys(initializer for _, initializer in signals))
    rows, columns = len(activations), len(initializers)
    figure = Figure(figsize=(8.0, 0.6 + 2.7 * rows), layout="constrained")
    heights = [1.35] * rows + [1.0] * rows
    grid = figure.add_gridspec(2 * rows, 2 * columns, height_ratios=heights)
    for row, activation in enumerate(activations):
        left = figure.add_subplot(grid[row, :columns])
        right = figure.add_subplot(grid[row, columns:])
        small: list[Axes] = []
        for number, initializer in enumerate(initializers):
            found = signals[activation, initializer]
            style: dict[str, Any] = {"label": initializer, "number": number}
            _draw_stds(left, [each.output_stds for each in found], **style)
            _draw_stds(right, [each.gradient_stds for each in found], **style)
            small.append(figure.add_subplot(grid[rows + row, 2 * number : 2 * number + 2]))
            _draw_histograms(small[-1], found[0], activation)
            if row == 0:
                small[-1].set_title(initializer, fontsize=8)
        left.set_ylabel(f"{activation}\nstd of outputs", fontsize=8)
        right.set_ylabel("std of gradients", fontsize=8)
        small[0].set_ylabel(f"{activation}\nshare", fontsize=8)
        for axes in small[1:]:
            axes.tick_params(labelleft=False)
    for axes in figure.axes:
        axes.tick_params(labelsize=7)
        axes.grid(visible=True, color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    draw_legend(figure, left, small[0])
    return figure


def _draw_stds(axes: "Axes", stds: Sequence[Sequence[float]], **style: Any) -> None:
    layers = range(1, len(stds[0]) + 1)
    drawn = [[std if 0 < std < math.inf else math.nan for std in each] for each in stds]
    draw_series(axes, layers, drawn, **style)
    axes.set_yscale("log")
    axes.set_xticks(layers)
    axes.set_xlabel("hidden layer", fontsize=8)


def _draw_histograms(axes: "Axes", signals: Signals, activation: str) -> None:
    """Draw outputs as they are if they are bounded, else in standard deviations of layer 1."""
    behavior = activation_behavior(activation)
    bounded = math.isfinite(behavior.highest - behavior.lowest)
    last = len(signals.outputs) - 1
    unit = 1.0 if bounded else signals.output_stds[0] or 1.0
    low = behavior.lowest if math.isfinite(behavior.lowest) else -FURTHEST
    high = behavior.highest if bounded else FURTHEST
    edges = np.linspace(low, high, 25)
    for number, layer in enumerate(sorted({0, last // 2, last})):
        values = np.clip(np.nan_to_num(signals.outputs[layer].numpy() / unit), low, high)
        shares = np.histogram(values, edges)[0] / values.size
        axes.stairs(
            np.maximum(shares, LEAST / 2),
            edges,
            label=f"layer {layer + 1}",
            color=str(0.25 * number),
            linestyle=STYLES[number],
        )
    axes.set(yscale="log", ylim=(LEAST, 60), yticks=(1e-3, 1e-2, 1e-1, 1))
    axes.set_xlabel("output" if bounded else "output / std of layer 1", fontsize=7)
    if not bounded:  # What lies beyond is in the last bin.
        axes.set_xticks([low, 0, high], [f"{low:.0f}", "0", f"{high:.0f}+"])
    word = "saturated" if bounded else "off"
    note = f"layer {last + 1}:\n{signals.flat[last]:.0%} {word}"
    axes.text(0.5, 0.98, note, transform=axes.transAxes, ha="center", va="top", fontsize=7)
