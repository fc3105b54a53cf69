"""Values of an image of more than 8 bits in a channel, of which Pillow keeps the upper alone."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

# Pillow keeps the upper byte of 16-bit colors. Read in the other byte order, it keeps the lower.
_OTHER_BYTE = {
    f"{colors};16{one}": f"{colors};16{other}"
    for colors in ("RGB", "RGBA", "RGBX")
    for one, other in ("LB", "BL", "NB" if np.little_endian else "NL")
}
# Of gray and alpha it knows one byte order; the four bytes of a pixel are read as four channels.
_GRAY_ALPHA = "LA;16B"
_OTHER_BYTE[_GRAY_ALPHA] = "RGBA"


def channel_values(image: Image.Image) -> NDArray[Any] | None:
    """Return the values of an image of more than 8 bits, and ``None`` for any other.

    Shape:
        - Output: ``(H, W)``, ``(H, W, 3)`` or, with alpha, ``(H, W, 4)``
    """
    if not has_deep_channels(image):
        return None
    is_gray_alpha = raw_mode(image) == _GRAY_ALPHA
    content = None if image.mode.startswith(("I", "F")) else unread_content(image)
    load(image)  # Which may turn it, so the array comes after.
    if content is None:
        return np.asarray(image)
    with Image.open(io.BytesIO(content)) as twin:
        twin.tile = [tile._replace(args=_with_other_byte(tile.args)) for tile in twin.tile]
        twin.load()
        read = np.asarray(twin)
    if is_gray_alpha:
        read = read[..., [1, 1, 1, 3]]
    values: NDArray[np.uint16] = np.asarray(image).astype(np.uint16) * 256 + read
    return values


def load(image: Image.Image) -> None:
    """Load the pixels of an image, if they are not loaded yet; its file is not mapped.

    Pillow turns a TIFF by its orientation, and maps one that is not compressed as if the file had
    the size after the turn (since https://github.com/python-pillow/Pillow/pull/8390).
    """
    if not isinstance(image, ImageFile.ImageFile):
        return
    filename, image.filename = image.filename, ""  # Without a name there is nothing to map.
    try:
        image.load()
    finally:
        image.filename = filename


def has_deep_channels(image: Image.Image) -> bool:
    """Return whether an image has more than 8 bits in a channel; of colors, before it is loaded."""
    return image.mode.startswith(("I", "F")) or raw_mode(image) in _OTHER_BYTE


def unread_content(image: Image.Image) -> bytes | None:
    """Return the bytes of the file of an image that is opened, but not loaded."""
    file = getattr(image, "fp", None)
    if file is None or not getattr(image, "tile", None):
        return None
    position = file.tell()
    file.seek(0)
    content: bytes = file.read()
    file.seek(position)
    return content


def raw_mode(image: Image.Image) -> str:
    """Return how the file stores a pixel, in Pillow's words; empty once it is loaded."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0][3]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _with_other_byte(arguments: Any) -> Any:
    if isinstance(arguments, tuple):
        return (_OTHER_BYTE[arguments[0]], *arguments[1:])
    return _OTHER_BYTE[arguments]
