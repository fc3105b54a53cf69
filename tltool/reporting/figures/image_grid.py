"""Images in a grid with their predictions, right and wrong."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from PIL import Image

from tltool.reporting.figures.axes import new_figure
from tltool.reporting.figures.palette import BLUE, VERMILION

NUM_COLUMNS = 6


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
        words = f"{mark} {caption}"  # Names of classes may hold dollars.
        axes.set_title(words, fontsize=8, color=color, parse_math=False)
    return figure
