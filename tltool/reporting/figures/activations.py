"""Activation functions and their slopes, with the saturated region shaded."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

from tltool._atomic_write import save_figure
from tltool._output_file import check_output_file
from tltool.layers.activation_behavior import outputs_and_slopes, saturated_region
from tltool.layers.activation_facts import ACTIVATION_FACTS
from tltool.layers.activations import ACTIVATIONS
from tltool.reporting.figures.axes import SUFFIXES, new_figure
from tltool.reporting.figures.palette import BLUE, VERMILION

LIMIT = 11  # The drawn inputs: every saturated region begins within, the last one at 9.


def save_plot(file: str, names: Sequence[str] | None = None) -> list[str]:
    """Draw activations into a file.

    Args:
        file: Where to; the suffix decides on the format.
        names: Which activations; ``None`` for all. Maxout is left out, for its shape is learned.

    Returns:
        The names of the activations that were drawn.

    Raises:
        ValueError: If the suffix is unknown, or if nothing can be drawn.
        FileNotFoundError: If the directory does not exist.
    """
    check_output_file(file, "--plot", suffixes=SUFFIXES)
    drawn = [name for name in names or ACTIVATION_FACTS if not ACTIVATIONS[name].is_layer]
    if not drawn:
        raise ValueError(
            "Maxout cannot be drawn: its shape is learned. Leave --plot out, or leave the name out."
        )
    save_figure(draw_activations(drawn), Path(file), dpi=120)
    return drawn


def draw_activations(names: Sequence[str]) -> Figure:
    """Draw each activation and its slope."""
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    figure, all_axes = new_figure(columns, width=3.2 * columns, height=2.5 * rows, num_rows=rows)
    z = torch.linspace(-LIMIT, LIMIT, 128 * LIMIT + 1, dtype=torch.float64)
    for axes, name in zip(all_axes, names, strict=False):
        outputs, slopes = outputs_and_slopes(name, z)
        axes.plot(z, outputs, color=BLUE, label="f(z)")
        axes.plot(z, slopes, color=VERMILION, linestyle="--", label="f'(z)")
        saturation = saturated_region(name)
        axes.axvspan(-LIMIT, max(saturation.below, -LIMIT), color="0.85", lw=0, zorder=0)
        axes.axvspan(min(saturation.above, LIMIT), LIMIT, color="0.85", lw=0, zorder=0)
        axes.set(
            title=name, xlabel="input z", ylabel="f(z), f'(z)", xlim=(-LIMIT, LIMIT), ylim=(-2, 7)
        )
    for axes in all_axes[len(names) :]:
        axes.set_axis_off()
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    figure.suptitle("Activations; where the slope is below 1 % of its steepest, the ground is gray")
    return figure
