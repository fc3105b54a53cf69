"""Images from any source, prepared alike: files, bytes, streams, Pillow images, arrays, tensors."""

import io
import os
from collections.abc import Iterable, Sized
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tltool.data.files.channel_values import unread_content
from tltool.data.files.decoding import decode_image
from tltool.data.files.image_errors import BrokenImageError, UnknownRangeError
from tltool.data.files.pixel_conversion import from_values, to_eight_bits
from tltool.data.files.value_range import ValueRange

ImageSource = (
    str | Path | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[Any] | Tensor
)
"""A file by its path, its content, or a binary stream of it; an image that Pillow has opened; or
pixels, see `image_of_pixels`."""

_FORMS = "(H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"


def read_image(
    source: ImageSource,
    *,
    mode: Literal["RGB", "L"] = "RGB",
    size: int | None = None,
    value_range: ValueRange | None = None,
) -> Image.Image:
    """Return an image from any source as 8-bit ``mode``, the right way up, see `to_eight_bits`.

    An image that Pillow has opened is loaded, and closes its file. A JPEG that was not loaded
    before is read as its file would be, at a fraction of its size; of one that was, every pixel.

    Args:
        source: The image.
        mode: ``"RGB"``, or ``"L"`` for one channel.
        size: The shortest edge that will be needed, see `decode_image`.
        value_range: The values of black and of white, see `to_eight_bits`.

    Raises:
        BrokenImageError: If it cannot be decoded.
        UnknownRangeError: If its pixels have no range of their own, and there is no
            ``value_range``.
        TypeError: If it is nothing of the kind.

    Example:
        >>> read_image(np.array([[0, 65535]], dtype=np.uint16), mode="L").getpixel((1, 0))
        255
    """
    options: dict[str, Any] = {"mode": mode, "value_range": value_range}
    if isinstance(source, str | os.PathLike):
        return decode_image(source, size=size, **options)
    if isinstance(source, bytes | bytearray | memoryview):
        return decode_image("the bytes", size=size, content=bytes(source), **options)
    if isinstance(source, np.ndarray | Tensor):
        return image_of_pixels(source, **options)
    if isinstance(source, Image.Image):
        return _read_pillow(source, size, options)
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "the stream"))
        return decode_image(name, size=size, content=_read_stream(source, name), **options)
    raise TypeError(
        f"An image must be a path, bytes, a binary stream, a Pillow image, an array or a tensor, "
        f"got {type(source).__name__}."
    )


def are_several(source: ImageSource | Iterable[ImageSource]) -> TypeGuard[Iterable[ImageSource]]:
    """Return whether these are several images: a list, a generator, an array of 4 dimensions.

    Example:
        >>> [are_several(np.zeros(shape)) for shape in ((8, 8), (8, 8, 3), (2, 8, 8, 3))]
        [False, False, True]
        >>> are_several("a.jpg"), are_several(path for path in ["a.jpg"])
        (False, True)
    """
    if isinstance(source, np.ndarray | Tensor):
        return source.ndim > 3
    is_one = isinstance(source, str | bytes | bytearray | memoryview) or hasattr(source, "read")
    return isinstance(source, Iterable) and not is_one


def describe_source(source: ImageSource) -> str:
    """Return what an image is, for messages: its path, or in words.

    Example:
        >>> describe_source(Path("a.jpg")), describe_source(np.zeros((8, 9, 3)))
        ("'a.jpg'", 'an array of shape (8, 9, 3)')
    """
    if isinstance(source, str | os.PathLike):
        return f"'{os.fspath(source)}'"
    if isinstance(source, np.ndarray | Tensor):
        kind = "an array" if isinstance(source, np.ndarray) else "a tensor"
        return f"{kind} of shape {tuple(source.shape)}"
    size = f" of {len(source)} bytes" if isinstance(source, Sized) else ""
    return f"a {type(source).__name__}{size}"


def image_of_pixels(
    pixels: NDArray[Any] | Tensor,
    *,
    mode: Literal["RGB", "L"] = "RGB",
    value_range: ValueRange | None = None,
) -> Image.Image:
    """Return pixels in memory as an 8-bit image.

    Args:
        pixels: An array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``, or a tensor with
            the channels in front; the fourth is alpha. bool, uint8 and uint16 have a range of their
            own; other types need a ``value_range``.
        mode: ``"RGB"``, or ``"L"`` for one channel.
        value_range: The values of black and of white, see `to_eight_bits`.

    Raises:
        ValueError: If the shape is another.
        UnknownRangeError: If the type has no range, and there is no ``value_range``.

    Example:
        >>> image_of_pixels(np.full((1, 1), 0.5), mode="L", value_range=(0, 1)).getpixel((0, 0))
        128
    """
    values = _channels_last(pixels)
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.dtype == np.uint8:
        return to_eight_bits(Image.fromarray(values), mode=mode, value_range=value_range)
    if value_range is None and values.dtype != np.uint16:
        raise UnknownRangeError(
            f"Cannot use an array of {values.dtype}: nothing says which values are black and "
            "white. Pass pixels of 0..255 as uint8, or train with --data.value_range."
        )
    colors = from_values(values, value_range)
    return to_eight_bits(colors, mode=mode)


def _read_stream(stream: BinaryIO, name: str) -> bytes:
    if isinstance(stream, io.TextIOBase):
        raise TypeError(f"'{name}' is open as text. Open it by open(path, 'rb').")
    content = stream.read()
    if not content:
        raise BrokenImageError(
            f"'{name}' has nothing left to read. If it was read before: stream.seek(0)."
        )
    return content


def _channels_last(pixels: NDArray[Any] | Tensor) -> NDArray[Any]:
    values: NDArray[Any]
    if isinstance(pixels, Tensor):
        moved = pixels.detach().cpu()
        moved = moved.float() if moved.is_floating_point() else moved  # NumPy has no bfloat16.
        values = (moved.movedim(0, -1) if moved.ndim == 3 else moved).numpy()
    else:
        values = pixels
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if 0 in values.shape or not (
        values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))
    ):
        is_tensor = isinstance(pixels, Tensor)
        cure = (
            "A tensor with the channels behind: pixels.permute(2, 0, 1)."
            if is_tensor
            else "An array with the channels in front: pixels.transpose(1, 2, 0)."
        )
        raise ValueError(
            f"An array of pixels must be {_FORMS}, and a tensor have its channels in front; got "
            f"{tuple(pixels.shape)}. {cure}"
        )
    return np.ascontiguousarray(values)


def _read_pillow(image: Image.Image, size: int | None, options: dict[str, Any]) -> Image.Image:
    is_reducible = type(image).draft is not Image.Image.draft
    content = unread_content(image) if size is not None and is_reducible else None
    if content is None:
        return to_eight_bits(image, **options)
    # A draft would change the size of the image itself.
    name = getattr(image, "filename", "") or "the image"
    pixels = decode_image(name, size=size, content=content, **options)
    image.load()
    return pixels
