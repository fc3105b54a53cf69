"""Pillow's resize of 8-bit images in torch, to the last bit, for graphs of any image size."""

from collections.abc import Callable

import PIL
import torch
from torch import Tensor

_ONE = float(1 << 22)
"""Pillow's weights of 8-bit pixels are whole numbers of this unit."""


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _cubic(distance: Tensor) -> Tensor:
    a = -0.5
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * a
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


#: The filters by timm's name: how far each reaches in an image that grows, and its weights.
FILTERS: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, _cubic),
}


def resize_weights(num_pixels: int, size: Tensor, kept: Tensor, interpolation: str) -> Tensor:
    """Return the weights of the pixels of an edge in each pixel of the resized one.

    Pillow's own are fixed-point numbers; here they are the same whole numbers in double precision,
    so that no sum is rounded.

    Args:
        num_pixels: Length of the edge.
        size: Length of the resized edge, a whole number in double precision.
        kept: Which of its pixels are wanted ``(K,)``; what lies outside gets the nearest one's.
        interpolation: See `FILTERS`.

    Returns:
        ``(K, num_pixels)``, for `weighted_pixels`.

    Example:
        >>> two, four = torch.tensor(2.0).double(), torch.arange(2).double()
        >>> (resize_weights(4, two, four, "bilinear") / 2**22).round(decimals=2)
        tensor([[0.4300, 0.4300, 0.1400, 0.0000],
                [0.0000, 0.1400, 0.4300, 0.4300]], dtype=torch.float64)
    """
    reach_of_one, weigh = FILTERS[interpolation]
    scale = torch.full_like(size, num_pixels) / size
    stretch = scale.clamp(min=1)  # An image that shrinks is filtered wider.
    reach = reach_of_one * stretch
    place = torch.minimum(kept.clamp(min=0), size - 1)[:, None]
    center = (place + 0.5) * scale  # (K, 1)
    pixels = torch.arange(num_pixels, dtype=size.dtype, device=size.device)
    first, end = torch.floor(center - reach + 0.5), torch.floor(center + reach + 0.5)
    weights = weigh(((pixels - center + 0.5) * (1 / stretch)).abs())
    weights = torch.where((pixels >= first) & (pixels < end), weights, 0.0)
    weights = weights / weights.sum(dim=1, keepdim=True) * _ONE
    return weights.sign() * torch.floor(weights.abs() + 0.5)


def resized(pixels: Tensor, across: Tensor, down: Tensor, is_down_first: Tensor) -> Tensor:
    """Return resized pixels.

    Args:
        pixels: ``(..., H, W)``, of 0 to 255 in double precision.
        across: ``(K, W)``, see `resize_weights`.
        down: ``(L, H)``.
        is_down_first: Whether the height is resized before the width, see `goes_down_first`.

    Returns:
        ``(..., L, K)``, whole numbers of 0 to 255.
    """
    if torch.compiler.is_exporting():  # Else it would be compiled.
        chosen: Tensor = torch.cond(
            is_down_first, _down_first, _across_first, (pixels, across, down)
        )
        return chosen
    return (_down_first if is_down_first else _across_first)(pixels, across, down)


def goes_down_first(edges: Tensor, size: Tensor) -> Tensor:
    """Return whether Pillow resizes the height of an image before its width.

    Since version 13 it does where the height loses many more pixels
    (https://github.com/python-pillow/Pillow/pull/9549). The pixels in between are rounded to 8
    bits, so the order shows.

    Args:
        edges: Height and width.
        size: Those of the resized image.
    """
    lost = edges - size
    is_tall = lost[0] > 2 * lost[1].clamp(min=0)
    return is_tall & (int(PIL.__version__.partition(".")[0]) >= 13)


def _across_first(pixels: Tensor, across: Tensor, down: Tensor) -> Tensor:
    return _eight_bits(down @ _eight_bits(pixels @ across.T))


def _down_first(pixels: Tensor, across: Tensor, down: Tensor) -> Tensor:
    return _eight_bits(_eight_bits(down @ pixels) @ across.T)


def _eight_bits(sums: Tensor) -> Tensor:
    return torch.floor((sums + _ONE / 2) / _ONE).clamp(0, 255)
