"""Images inside a page: figures as SVG, and thumbnails that tell nothing of place and camera."""

import base64
import io

from matplotlib.figure import Figure
from PIL import Image

from tltool.reporting.html.render import PictureOnPage

THUMBNAIL = 160
"""Longest side of an image on the page, in pixels."""


def picture(figure: Figure, description: str) -> PictureOnPage:
    """Return a figure as a picture of the page.

    Args:
        figure: The figure.
        description: What it shows, for those who cannot see it.
    """
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return _embedded(content, "svg+xml", description)


def thumbnail(image: Image.Image, description: str) -> PictureOnPage:
    """Return a small JPEG of an image, without what the file said of place and camera."""
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.info = {}  # Pillow would write the comment of a JPEG again.
    content = io.BytesIO()
    small.save(content, format="JPEG", quality=75)
    return _embedded(content, "jpeg", description)


def _embedded(content: io.BytesIO, kind: str, description: str) -> PictureOnPage:
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return PictureOnPage(f"data:image/{kind};base64,{encoded}", description)
