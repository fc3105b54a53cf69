"""The pictures of the page: small enough for a telephone, told apart without color."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from tltool.diagnosis.calibration import Bin
from tltool.finetuning.plan import Plan
from tltool.reporting.evaluation import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe & Ito (2008, https://jfly.uni-koeln.de/color/), each with a line and a marker of its own.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("solid", "dashed", "dotted", "dashdot", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
NUM_COLUMNS = 300
SMALLEST_SHOWN = 1e-3
"""Rates below this share of the highest one have the darkest color."""
MOST_NUMBERED = 90
"""Cells of a heatmap that have room for their numbers."""

Points = Sequence[tuple[int, float]]


def draw_curves(
    series: Mapping[str, Points], label: str, *, phases: Sequence[float] = ()
) -> "Figure":
    """Draw a metric over epochs.

    Args:
        series: (epoch, value) pairs by name.
        label: Of the metric.
        phases: The epoch in front of which each phase begins.
    """
    figure, axes = _new()
    for number, (name, points) in enumerate(series.items()):
        axes.plot(
            [epoch + 1 for epoch, _ in points],
            [value for _, value in points],
            color=COLORS[number % len(COLORS)],
            linestyle=STYLES[number % len(STYLES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            label=name,
        )
    for number, start in enumerate(phases, start=1):
        _mark(axes, start + 0.5, number)
    axes.set(xlabel="epoch", ylabel=label, title=" ")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color="0.9", linewidth=0.6)
    axes.legend(fontsize=9)
    return figure


def draw_schedule(plan: Plan, rates: Mapping[str, Sequence[float]], done: float) -> "Figure":
    """Draw the learning rate of each layer group over the epochs.

    Args:
        plan: The phases.
        rates: The rate of each of ``NUM_COLUMNS`` moments by group, from the input on; 0 where the
            group is frozen.
        done: The epochs that were trained.
    """
    from matplotlib.colors import LogNorm

    total = plan.phases[-1].span.end / plan.steps_per_epoch
    figure, axes = _new(1.5 + 0.24 * len(rates))
    values = np.array([[rate or np.nan for rate in row] for row in rates.values()])
    highest = float(np.nanmax(values))
    # Dark to bright also in gray; frozen groups stay white.
    image = axes.imshow(
        values,
        aspect="auto",
        cmap="cividis",
        norm=LogNorm(highest * SMALLEST_SHOWN, highest),
        extent=(0, total, len(rates), 0),
        interpolation="nearest",
    )
    for number, planned in enumerate(plan.phases, start=1):
        _mark(axes, planned.span.start / plan.steps_per_epoch, number)
    if done < total:
        axes.axvline(done, color="#D55E00", linewidth=2, linestyle="dotted")
        axes.set_xlabel("epochs (dotted: stopped here)")
    else:
        axes.set_xlabel("epochs")
    axes.set(xlim=(0, total), title=" ")
    axes.set_yticks([index + 0.5 for index in range(len(rates))], list(rates), fontsize=8)
    figure.colorbar(image, label="learning rate (white: frozen)")
    return figure


def draw_heatmap(
    values: Sequence[Sequence[float | None]],
    layers: Sequence[str],
    steps: Sequence[int],
    *,
    title: str,
    limit: float | None,
    most: float,
) -> "Figure":
    """Draw a number of each layer over time, what is beyond a limit marked.

    Args:
        values: ``(num_layers, num_windows)``; ``None`` where nothing was seen.
        layers: Names of the rows, from the input on.
        steps: The last step of each window.
        title: What the number is.
        limit: An alarm's.
        most: Where the scale ends, unless a value is higher.
    """
    figure, axes = _new(1.6 + 0.3 * len(layers))
    grid = np.array([[np.nan if v is None else v for v in row] for row in values], dtype=float)
    most = max(grid[np.isfinite(grid)].max(initial=0.0), most)
    image = axes.imshow(grid, aspect="auto", cmap="cividis", vmin=0, vmax=most)
    beyond = np.nan_to_num(grid) >= (math.inf if limit is None else limit)
    if grid.size <= MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(grid):
            number = f"{value:.1%}" if most < 0.1 else f"{value:.0%}"
            number = "" if np.isnan(value) else number + " !" * bool(beyond[row, column])
            color = "white" if value < most / 2 else "black"
            axes.text(column, row, number, ha="center", va="center", fontsize=8, color=color)
    else:
        rows, columns = np.nonzero(beyond)
        axes.scatter(columns, rows, marker="x", s=12, color="black", linewidths=2.4)
        axes.scatter(columns, rows, marker="x", s=8, color="white", linewidths=1)
    shown = sorted({round(i) for i in np.linspace(0, len(steps) - 1, min(len(steps), 6))})
    axes.set_xticks(shown, [str(steps[i] + 1) for i in shown], fontsize=8)
    axes.set_yticks(range(len(layers)), list(layers), fontsize=8)
    axes.set_xlabel("optimizer steps")
    figure.suptitle(title, fontsize=10)
    figure.colorbar(image, format=lambda value, _: f"{value:.3g}")
    return figure


def draw_calibration(bins: Sequence[Bin]) -> "Figure":
    """Draw how often predictions are right over how sure they are (a reliability diagram)."""
    figure, axes = _new(3.9)
    total = sum(each.num_photos for each in bins)
    confidence = [each.confidence for each in bins]
    accuracy = [each.accuracy for each in bins]
    ranges = [wilson(each.accuracy, each.num_photos) for each in bins]
    below = [max(a - low, 0) for a, (low, _) in zip(accuracy, ranges, strict=True)]
    above = [max(high - a, 0) for a, (_, high) in zip(accuracy, ranges, strict=True)]
    axes.plot([0, 1], [0, 1], color="0.5", linestyle="dashed", label="as sure as right")
    axes.vlines(
        confidence,
        0,
        [each.num_photos / total for each in bins],
        color="0.8",
        linewidth=7,
        label="share of the photos",
    )
    axes.errorbar(
        confidence,
        accuracy,
        yerr=[below, above],
        fmt="o",
        color=COLORS[0],
        markersize=4,
        linewidth=1,
        label="right, with 95 % interval",
    )
    axes.set(xlabel="confidence", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.grid(color="0.9", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def draw_confusion(counts: Tensor) -> "Figure":
    """Draw a confusion matrix of many classes, by their numbers from 1 on."""
    number = len(counts)
    shares = counts.double() / counts.sum(dim=1, keepdim=True).clamp_min(1)
    figure, axes = _new(3.8)
    extent = (0.5, number + 0.5, number + 0.5, 0.5)
    image = axes.imshow(shares.numpy(), cmap="cividis", vmin=0, vmax=1, extent=extent)
    axes.set(xlabel="predicted class number", ylabel="true class number")
    figure.colorbar(image, label="share of the true class")
    return figure


def _mark(axes: "Axes", place: float, number: int) -> None:
    """Mark where a phase begins, by its number: names have no room."""
    axes.axvline(place, color="black", linewidth=0.8)
    axes.annotate(
        str(number),
        (place, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(2, 3),
        textcoords="offset points",
        fontsize=8,
    )


def _new(height: float = 3.1) -> "tuple[Figure, Any]":
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["font.family"] = "DejaVu Sans"
    figure = Figure(figsize=(4.8, height), layout="constrained")
    axes = figure.subplots()
    return figure, axes
