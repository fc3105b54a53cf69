"""Conversion of an image of any mode to 8-bit RGB or grayscale, the right way up: one for all."""

import contextlib
import struct
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tltool.data.files.channel_values import channel_values, load, raw_mode
from tltool.data.files.value_range import ValueRange, is_for_eight_bits, scale_to_eight_bits

#: What Pillow's plugins raise on damaged files, AVIF a RuntimeError: there is no common base class.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, OverflowError),
    RuntimeError,
)

_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Where Pillow keeps the orientation.
_ORIENTED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")

# Pillow widens these pixels to 8 bits, but not the transparent one among them.
_WIDENED = {"L;2": 85, "L;4": 17}


def to_eight_bits(
    image: Image.Image,
    *,
    mode: Literal["RGB", "L"] = "RGB",
    value_range: ValueRange | None = None,
) -> Image.Image:
    """Convert an image of any mode to 8-bit ``mode``, the right way up.

    The EXIF orientation is applied. Transparency is laid on white, as a browser shows it on an
    empty page. Color profiles are ignored.

    Args:
        image: As opened, or loaded already.
        mode: ``"RGB"``, or ``"L"`` for one channel.
        value_range: The values of black and of white, the same for all images of a data set.
            ``None`` takes what the file can hold: 0..255, or 0..65535. A range within 0..255 is for
            all images, any other for those of more than 8 bits.

    Raises:
        UnknownRangeError: If the pixels have 32 bits, and there is no range.

    Example:
        >>> to_eight_bits(Image.new("LA", (1, 1), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
        >>> to_eight_bits(Image.new("F", (1, 1), 3.0), value_range=(1, 5)).getpixel((0, 0))
        (128, 128, 128)
    """
    transparent = image.info.get("transparency")
    if image.mode == "L" and isinstance(transparent, int):
        transparent *= _WIDENED.get(raw_mode(image), 1)
    is_exact = value_range is not None or _needs_all_bits(image, transparent)
    values = channel_values(image) if is_exact else None
    load(image)
    if values is not None:
        colors = from_values(values, value_range, transparent)
    elif value_range is None or not is_for_eight_bits(value_range):
        colors = _from_eight_bits(image, mode, transparent)
    else:
        channels = "L" if image.mode in ("1", "L") else "RGB"
        colors = _rescale(_from_eight_bits(image, channels, transparent), value_range)
    return _upright(flatten(colors).convert(mode), image)


def shown_values(image: Image.Image) -> NDArray[Any]:
    """Return the values of the colors of an image that are not transparent, of any number of bits.

    Example:
        >>> shown_values(Image.new("RGBA", (1, 1), (7, 8, 9, 255))).tolist()
        [[7, 8, 9]]
        >>> shown_values(Image.new("RGBA", (1, 1), (7, 8, 9, 0))).size
        0
    """
    values = channel_values(image)
    load(image)
    if values is None:
        values = np.asarray(_from_eight_bits(image, "RGB", image.info.get("transparency")))
    if values.ndim == 3 and values.shape[2] == 4:
        values = values[values[..., 3] > 0][:, :3]  # (N, 3)
    return values


def _needs_all_bits(image: Image.Image, transparent: object) -> bool:
    # A transparent 16-bit color is compared with 16 bits.
    return image.mode.startswith(("I", "F")) or isinstance(transparent, tuple)


def from_values(
    values: NDArray[Any], value_range: ValueRange | None, transparent: object = None
) -> Image.Image:
    """Return 8-bit colors of deeper ones: L or RGB, with alpha where some of it is transparent.

    Args:
        values: ``(H, W)``, ``(H, W, 3)``, or ``(H, W, 4)`` with alpha.
        value_range: See `to_eight_bits`.
        transparent: The value or color that is transparent, if one is.
    """
    has_alpha = values.ndim == 3 and values.shape[2] == 4
    shown = values[..., :3] if has_alpha else values
    colors = Image.fromarray(scale_to_eight_bits(shown, value_range))
    if has_alpha:
        own = None if values.dtype.kind == "u" else value_range
        colors.putalpha(Image.fromarray(scale_to_eight_bits(values[..., 3], own)))
    elif isinstance(transparent, int | tuple):
        is_opaque = np.atleast_3d(values != np.array(transparent)).any(axis=2)
        colors.putalpha(Image.fromarray(is_opaque.astype(np.uint8) * 255))
    return colors


def _from_eight_bits(image: Image.Image, mode: str, transparent: object) -> Image.Image:
    """Return 8-bit colors as ``mode``, or as RGBA where some of it is transparent."""
    if not image.has_transparency_data:
        return image.convert(mode)
    if image.mode == "La":  # From which Pillow knows but one way.
        image = image.convert("LA")
    if transparent != image.info.get("transparency"):
        image = image.copy()
        image.info["transparency"] = transparent
    return image.convert("RGBA")


def _rescale(colors: Image.Image, value_range: ValueRange) -> Image.Image:
    table = scale_to_eight_bits(np.arange(256), value_range).tolist()
    keep = list(range(256))
    channels = len(colors.getbands())
    return colors.point(table * min(channels, 3) + keep * (channels == 4))


def flatten(colors: Image.Image) -> Image.Image:
    """Return 8-bit colors laid on white where they are transparent."""
    if not colors.has_transparency_data:
        return colors
    white = Image.new("RGBA", colors.size, "white")
    return Image.alpha_composite(white, colors.convert("RGBA"))


def _upright(pixels: Image.Image, image: Image.Image) -> Image.Image:
    orientation = 1
    # After the load, where Pillow turns TIFF by itself. A damaged EXIF block says nothing about the
    # pixels.
    with contextlib.suppress(*DAMAGE, TypeError):
        orientation = int(image.getexif().get(_ORIENTATION_TAG, 1))
    turn = _ORIENTATIONS.get(orientation)
    if turn is None:
        return pixels
    turned = pixels.transpose(turn)
    for key in _ORIENTED:  # Else who reads them would turn it again.
        turned.info.pop(key, None)
    return turned
