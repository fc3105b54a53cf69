"""Overlay of an image with a map of its places, by color."""

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tltool.reporting.figures.palette import COLORMAP

_STRENGTH = 0.6


def draw_overlay(image: Image.Image, values: NDArray[np.float32]) -> Image.Image:
    """Return an image with a map laid over it: what is high is bright and colored.

    Args:
        image: The image.
        values: In ``[0, 1]``, ``(H, W)``, of the same size.

    Example:
        >>> draw_overlay(Image.new("L", (2, 2)), np.zeros((2, 2))).size
        (2, 2)
    """
    colors = mpl.colormaps[COLORMAP](values)[..., :3]  # (H, W, 3)
    gray = np.asarray(image.convert("L").convert("RGB")) / 255  # So that color is of the map alone.
    blended = (1 - _STRENGTH) * gray + _STRENGTH * colors
    return Image.fromarray((255 * blended).round().astype(np.uint8))
