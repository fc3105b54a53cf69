"""The picture of `tltool activations --plot FILE`."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from tltool.cli.output_file import check_output_file
from tltool.layers.activation_behavior import outputs_and_slopes, saturated_region
from tltool.layers.activation_facts import ACTIVATION_FACTS
from tltool.layers.activations import ACTIVATIONS
from tltool.whole_file import save_figure

# Blue and vermilion of Okabe & Ito (2008, https://jfly.uni-koeln.de/color/): told apart by all
# eyes; the dashes tell the lines apart in print.
OUTPUT_COLOR, SLOPE_COLOR = "#0072B2", "#D55E00"
SUFFIXES = {".png", ".svg", ".pdf"}
LIMIT = 11  # The drawn inputs: every saturated region begins within, the last one at 9.


def save_plot(file: str, names: Sequence[str] | None = None) -> list[str]:
    """Draw each activation and its slope, with the saturated region shaded.

    Args:
        file: Where to; the suffix decides on the format.
        names: Which activations; ``None`` for all. Maxout is left out, for its shape is learned.

    Returns:
        The names of the activations that were drawn.

    Raises:
        ValueError: If the suffix is unknown, or if nothing can be drawn.
        FileNotFoundError: If the folder does not exist.
    """
    path = Path(file)
    check_output_file(path, "--plot", suffixes=SUFFIXES, example="activations.png")
    drawn = [name for name in names or ACTIVATION_FACTS if not ACTIVATIONS[name].is_layer]
    if not drawn:
        raise ValueError(
            "Maxout cannot be drawn: its shape is learned. Leave --plot out, or leave the name out."
        )
    _draw(path, drawn)
    return drawn


def _draw(path: Path, names: Sequence[str]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(3.2 * columns, 2.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    z = torch.linspace(-LIMIT, LIMIT, 128 * LIMIT + 1, dtype=torch.float64)
    for axis, name in zip(axes, names, strict=False):
        outputs, slopes = outputs_and_slopes(name, z)
        axis.plot(z, outputs, color=OUTPUT_COLOR, label="f(z)")
        axis.plot(z, slopes, color=SLOPE_COLOR, linestyle="--", label="f'(z)")
        saturation = saturated_region(name)
        axis.axvspan(-LIMIT, max(saturation.below, -LIMIT), color="0.85", lw=0, zorder=0)
        axis.axvspan(min(saturation.above, LIMIT), LIMIT, color="0.85", lw=0, zorder=0)
        axis.set(
            title=name, xlabel="input z", ylabel="f(z), f'(z)", xlim=(-LIMIT, LIMIT), ylim=(-2, 7)
        )
        axis.grid(alpha=0.3)
    for axis in list(axes)[len(names) :]:
        axis.set_axis_off()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    figure.suptitle("Activations; where the slope is below 1 % of its steepest, the ground is gray")
    save_figure(figure, path, dpi=120)
