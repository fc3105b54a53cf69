"""Decode an image file to 8-bit RGB or grayscale pixels, the right way up."""

import contextlib
import importlib
import importlib.util
import io
import os
import struct
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"),
    *(".heic", ".heif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
)
"""The file suffixes that are read, in any case."""

_HEIF_SUFFIXES = (".heic", ".heif")

# What Pillow's plugins raise on damaged files: there is no common base class.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, OverflowError)

_NO_RANGE = "it has 32-bit pixels, whose range no standard gives; save it with 8 or 16 bits"

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


class BrokenImageError(ValueError):
    """A file that cannot be decoded; the message names it and says what to do."""


def decode_image(
    path: str | os.PathLike[str],
    *,
    mode: Literal["RGB", "L"] = "RGB",
    size: int | None = None,
    content: bytes | None = None,
) -> Image.Image:
    """Read an image file as 8-bit ``mode``, the right way up.

    The EXIF orientation is applied. Transparency is laid on white, as a browser shows it on an
    empty page. 16-bit grayscale is scaled from 0..65535 to 0..255, where Pillow's own conversion
    clips. Palette, CMYK and bilevel images are converted by Pillow, color profiles are ignored. Of
    an animation the first frame is read.

    Args:
        path: The file.
        mode: ``"RGB"``, or ``"L"`` for one channel.
        size: The shortest edge that will be needed. A JPEG whose shortest edge is at least four
            times as long is decoded at 1/2, 1/4 or 1/8 of its size, never below twice ``size``
            (``Image.draft``): 3 to 6 times quicker, and the pixels after the resize differ by
            0.2 to 1.4 of 255 levels on average. ``None`` decodes every pixel.
        content: The bytes of the file, where they were read already, see `read_content`.

    Raises:
        BrokenImageError: If the file is empty, truncated, or no image.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "dot.png"
        >>> Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(path)
        >>> decode_image(path).getpixel((0, 0))
        (255, 255, 255)
    """
    _register_heif(path)
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            if size is not None:
                image.draft(None, (2 * size, 2 * size))
            image.load()
            orientation = 1
            # After the load, where Pillow turns TIFF by itself. A damaged EXIF block says nothing
            # about the pixels.
            with contextlib.suppress(*_DAMAGE, TypeError):
                orientation = int(image.getexif().get(_ORIENTATION_TAG, 1))
            pixels = _convert(image, mode)
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise _broken(path, error) from error
    turn = _ORIENTATIONS.get(orientation)
    return pixels if turn is None else pixels.transpose(turn)


def read_content(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of an image file.

    Raises:
        BrokenImageError: If it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _broken(path, error) from error


def is_readable(path: str | os.PathLike[str]) -> bool:
    """Return whether a file can be decoded.

    Example:
        >>> is_readable("missing.jpg")
        False
    """
    try:
        decode_image(path)
    except BrokenImageError:
        return False
    return True


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is read: a known suffix, and not hidden.

    Example:
        >>> [is_image_name(name) for name in ("ant.JPG", "Thumbs.db", "._ant.jpg")]
        [True, False, False]
    """
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def _convert(image: Image.Image, mode: Literal["RGB", "L"]) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)  # (H, W)
        if values.min() >= 0 and values.max() <= 65535:
            scaled = ((values * 255 + 32767) // 65535).astype(np.uint8)
            return Image.fromarray(scaled).convert(mode)
    if image.mode.startswith(("I", "F")):
        raise ValueError(_NO_RANGE)
    if not image.has_transparency_data:
        return image.convert(mode)
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert(mode)


def _broken(path: str | os.PathLike[str], error: BaseException) -> BrokenImageError:
    return BrokenImageError(
        f"Cannot read '{path}': {_reason(Path(path), error)}. "
        "Remove it, or set --data.broken_files skip."
    )


def _reason(path: Path, error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "it does not exist any more"
    if path.is_file() and path.stat().st_size == 0:
        return "it is empty (0 bytes)"
    if path.suffix.lower() in _HEIF_SUFFIXES and not _has_heif():
        return "HEIC needs one more package: pip install 'tltool[heic]'"
    if isinstance(error, UnidentifiedImageError):
        return "its content is no image that Pillow knows"
    return " ".join(str(error).split()).rstrip(".")


def _has_heif() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def _register_heif(path: str | os.PathLike[str]) -> None:
    if os.fspath(path).lower().endswith(_HEIF_SUFFIXES) and _has_heif():
        importlib.import_module("pillow_heif").register_heif_opener()
