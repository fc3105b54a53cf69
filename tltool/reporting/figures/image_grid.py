"""Images in a grid with their predictions, right and wrong."""

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure
from PIL import Image

from tltool.reporting.figures.axes import new_figure, short_label
from tltool.reporting.figures.palette import BLUE, VERMILION

NUM_COLUMNS = 6
_WIDTH = 28  # characters above an image


def draw_image_grid(
    images: Sequence[Image.Image], captions: Sequence[str], right: Sequence[bool]
) -> Figure:
    """Draw images, the caption of a wrong prediction marked by color and by a cross."""
    num_rows = -(-len(images) // NUM_COLUMNS)
    figure, all_axes = new_figure(
        NUM_COLUMNS, width=1.9 * NUM_COLUMNS, height=2.4 * num_rows, num_rows=num_rows, grid=False
    )
    for axes in all_axes:
        axes.set_axis_off()
    for axes, image, caption, is_right in zip(all_axes, images, captions, right, strict=False):
        axes.imshow(image, cmap="gray" if image.mode == "L" else None)
        color, mark = (BLUE, "\N{CHECK MARK}") if is_right else (VERMILION, "\N{MULTIPLICATION X}")
        # Names of classes may hold dollars.
        axes.set_title(_wrapped(f"{mark} {caption}"), fontsize=8, color=color, parse_math=False)
    return figure


def _wrapped(caption: str) -> str:
    """Return a caption whose lines are no wider than an image, each in at most three."""
    lines = (short_label(line, 2 * _WIDTH) for line in caption.split("\n"))
    return "\n".join(part for line in lines for part in textwrap.wrap(line, _WIDTH))
