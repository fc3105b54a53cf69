"""Pixels of images from any source, as the network takes them; errors say which image it was."""

import functools
import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from tltool.data.files.image_sources import ImageSource, describe_source, read_image
from tltool.data.transforms.image_transform import ImageTransform

log = logging.getLogger(__name__)

NIGHT = 16
"""An image without a pixel as bright as this is nearly black."""


def source_path(source: ImageSource) -> str | None:
    """Return the path of an image that was given by it.

    Example:
        >>> source_path("ant.jpg"), source_path(b"...")
        ('ant.jpg', None)
    """
    return os.fspath(source) if isinstance(source, str | os.PathLike) else None


def batches_of(images: Iterable[ImageSource], size: int) -> Iterator[list[ImageSource]]:
    """Yield lists of so many images, which are drawn one list at a time.

    Raises:
        ValueError: If there is to be less than one in each.

    Example:
        >>> list(batches_of(["a.jpg", "b.jpg", "c.jpg"], 2))
        [['a.jpg', 'b.jpg'], ['c.jpg']]
    """
    if size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {size}.")
    left = iter(images)
    while batch := list(itertools.islice(left, size)):
        yield batch


def source_pixels(
    sources: Sequence[ImageSource], transform: ImageTransform, *, first: int = 0
) -> Tensor:
    """Return images as one batch ``(B, C, H, W)``, all prepared alike, see `read_image`.

    Args:
        sources: The images.
        transform: From a decoded image to a tensor.
        first: The position of the first one among all that are predicted, for messages.

    Raises:
        ValueError: If one cannot be decoded; a note says which, counted from 0.
        TypeError: If one is no image.
    """
    pixels = []
    for position, source in enumerate(sources, start=first):
        try:
            pixels.append(_prepared(source, transform))
        except (ValueError, TypeError) as error:
            error.add_note(f"Image {position}, counted from 0: {describe_source(source)}.")
            raise
    return torch.stack(pixels)


def _prepared(source: ImageSource, transform: ImageTransform) -> Tensor:
    decoded = read_image(source, **transform.decode_options)
    brightest = np.ravel(decoded.getextrema()).max()
    if transform.value_range is None and 0 < brightest < NIGHT:
        _note_dark(describe_source(source))
    return transform(decoded)


@functools.cache
def _note_dark(name: str) -> None:
    log.warning(
        "%s is nearly black: no pixel is above %d of 255. If its values need fewer bits than its "
        "type has, load the model with the range of all images: tltool.load(..., "
        "value_range=(0, 4095)).",
        *(name[0].upper() + name[1:], NIGHT - 1),
    )
