"""Test-time augmentation: views of images whose probabilities are averaged."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor
from torch.nn import functional

#: How an image is looked at when it is predicted.
TestTimeAugmentation = Literal["none", "flip", "five_crops"]

CROP = 7 / 8
"""The share of each edge that a corner keeps."""


def as_it_is(images: Tensor) -> list[Tensor]:
    """Return the images alone."""
    return [images]


def with_flip(images: Tensor) -> list[Tensor]:
    """Return images and their mirror images.

    Example:
        >>> import torch
        >>> [view.tolist() for view in with_flip(torch.tensor([[[[1, 2]]]]))]
        [[[[[1, 2]]]], [[[[2, 1]]]]]
    """
    return [images, images.flip(-1)]


def with_corners(images: Tensor) -> list[Tensor]:
    """Return images, which are the center crops, and their four corners at the same size.

    Krizhevsky et al., 2012, section 4.1, https://doi.org/10.1145/3065386.

    Example:
        >>> import torch
        >>> [tuple(view.shape) for view in with_corners(torch.zeros(2, 3, 32, 48))][:2]
        [(2, 3, 32, 48), (2, 3, 32, 48)]
    """
    size = images.shape[-2:]
    height, width = (round(CROP * edge) for edge in size)
    corners = [
        images[..., rows, columns]
        for rows in (slice(height), slice(-height, None))
        for columns in (slice(width), slice(-width, None))
    ]
    resized = [
        functional.interpolate(corner, size, mode="bilinear", antialias=True) for corner in corners
    ]
    return [images, *resized]


VIEWS: dict[str, Callable[[Tensor], Sequence[Tensor]]] = {
    "none": as_it_is,
    "flip": with_flip,
    "five_crops": with_corners,
}
"""From images ``(B, C, H, W)`` to their views, by the name of the augmentation."""
