"""Decode an image file to 8-bit RGB or grayscale pixels, the right way up."""

import contextlib
import functools
import importlib
import importlib.util
import io
import logging
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from PIL import Image, UnidentifiedImageError

from tltool.data.files.image_errors import BrokenImageError, UnknownRangeError
from tltool.data.files.pixel_conversion import DAMAGE, to_eight_bits
from tltool.data.files.value_range import ValueRange

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"),
    *(".heic", ".heif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
)
"""The file suffixes that are read, in any case."""

MAX_PIXELS = "TLTOOL_MAX_PIXELS"
"""The environment variable that replaces Pillow's limit on the pixels of an image."""

_HEIF_SUFFIXES = (".heic", ".heif")


def decode_image(
    path: str | os.PathLike[str],
    *,
    mode: Literal["RGB", "L"] = "RGB",
    size: int | None = None,
    content: bytes | None = None,
    value_range: ValueRange | None = None,
) -> Image.Image:
    """Read an image file as 8-bit ``mode``, the right way up, see `to_eight_bits`.

    Of an animation the first frame is read.

    Args:
        path: The file.
        mode: ``"RGB"``, or ``"L"`` for one channel.
        size: The shortest edge that will be needed. A JPEG whose shortest edge is at least four
            times as long is decoded at 1/2, 1/4 or 1/8 of its size, never below twice ``size``
            (``Image.draft``): several times quicker, and the pixels after the resize differ by
            about one of 255 levels on average. ``None`` decodes every pixel.
        content: The bytes of the file, where they were read already, see `read_content`.
        value_range: The values of black and of white, see `to_eight_bits`.

    Raises:
        BrokenImageError: If the file is empty, truncated, or no image.
        UnknownRangeError: If its pixels have 32 bits, and there is no ``value_range``.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "dot.png"
        >>> Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(path)
        >>> decode_image(path).getpixel((0, 0))
        (255, 255, 255)
    """
    with opened(path, content) as image:
        if size is not None:
            image.draft(None, (2 * size, 2 * size))
        return to_eight_bits(image, mode=mode, value_range=value_range)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], content: bytes | None = None) -> Iterator[Image.Image]:
    """Open an image file; what fails on it, here or in the block, is an error that names it.

    Args:
        path: The file.
        content: Its bytes, where they were read already.

    Raises:
        BrokenImageError: If it cannot be decoded.
        UnknownRangeError: If the block raises one.
    """
    _register_heif(path, content)
    limit = os.environ.get(MAX_PIXELS)
    if limit is not None:
        Image.MAX_IMAGE_PIXELS = _read_limit(limit)
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                _note_large(os.fspath(path), image.width, image.height)
            yield image
    except UnknownRangeError as error:
        raise UnknownRangeError(f"Cannot use '{path}': {error}.") from error
    except Image.DecompressionBombError as error:
        raise BrokenImageError(_too_large(path, error)) from error
    except DAMAGE as error:
        raise _broken(path, error) from error


def read_content(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of an image file.

    Raises:
        BrokenImageError: If it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _broken(path, error) from error


def is_readable(
    path: str | os.PathLike[str], decode: Callable[..., Image.Image] | None = None
) -> bool:
    """Return whether an image can be decoded, though its range of values may not be known.

    Args:
        path: The file, or what a decoder knows the image by.
        decode: The decoder; ``None`` for `decode_image`.

    Example:
        >>> is_readable("missing.jpg")
        False
    """
    if is_stream(path):
        return False
    try:
        (decode or decode_image)(path, mode="RGB", size=None)
    except UnknownRangeError:
        return True
    except BrokenImageError:
        return False
    return True


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a pipe, a socket or a device: opening it may wait for ever.

    Example:
        >>> is_stream(os.devnull), is_stream(os.curdir), is_stream("missing.jpg")
        (True, False, False)
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:  # Reading it says why.
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is read: a known suffix, and not hidden.

    Example:
        >>> [is_image_name(name) for name in ("ant.JPG", "Thumbs.db", "._ant.jpg")]
        [True, False, False]
    """
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def _read_limit(limit: str) -> int:
    if not limit.isdecimal() or int(limit) < 1:
        raise ValueError(
            f"{MAX_PIXELS} must be a number of pixels, such as 500000000, got {limit!r}."
        )
    return int(limit)


@functools.cache
def _note_large(path: str, width: int, height: int) -> None:
    log.warning(
        "'%s' has %d x %d pixels, all of which are decoded at each visit. Save it smaller to train "
        "faster.",
        *(path, width, height),
    )


def _too_large(path: str | os.PathLike[str], error: BaseException) -> str:
    number, limit = re.findall(r"\d+", str(error))[:2]
    return (
        f"Cannot read '{path}': it has {int(number):,} pixels, and Pillow takes more than "
        f"{int(limit):,} for a decompression bomb. If you trust it, set the environment variable "
        f"{MAX_PIXELS}={number}; or save it smaller, or set --data.broken_files skip."
    )


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


def _register_heif(path: str | os.PathLike[str], content: bytes | None) -> None:
    is_heif = os.fspath(path).lower().endswith(_HEIF_SUFFIXES) or (content or b"")[4:8] == b"ftyp"
    if is_heif and _has_heif():
        importlib.import_module("pillow_heif").register_heif_opener()
