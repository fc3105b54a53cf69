"""Mean and standard deviation of each channel of a tensor, and of several tensors together."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_LARGEST_SCALE = 1e3
_CHUNK = 16
"""Images that are held in double precision at once."""


class ChannelMoments(NamedTuple):
    """The mean and the standard deviation of each channel, in double precision."""

    #: ``(C,)``.
    mean: Tensor
    #: ``(C,)``, of the population: divided by the number of values.
    std: Tensor
    #: Values of each channel.
    num_values: int

    def is_near(self, other: "ChannelMoments", tolerance: float) -> bool:
        """Tell whether means and deviations agree, relative to the largest deviation."""
        scale = self.std.max().clamp(min=1e-12)
        errors = (self.mean - other.mean, self.std - other.std)
        return all(bool((error.abs() <= tolerance * scale).all()) for error in errors)


def channel_moments(outputs: Tensor, dim: int) -> ChannelMoments:
    """Return the moments of each channel, over all other dimensions.

    Args:
        outputs: Of a layer, images first.
        dim: Where the channels are.

    Example:
        >>> moments = channel_moments(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), dim=1)
        >>> moments.mean.tolist(), moments.std.tolist()
        ([2.0, 5.0], [1.0, 0.0])
    """
    rows = outputs.detach().movedim(dim, -1)  # (B, *, C)
    num_values = rows[..., 0].numel()
    chunks = torch.split(rows, _CHUNK)
    mean = sum(chunk.double().flatten(0, -2).sum(dim=0) for chunk in chunks) / num_values
    squares = sum((chunk.double() - mean).square().flatten(0, -2).sum(dim=0) for chunk in chunks)
    return ChannelMoments(
        torch.as_tensor(mean), torch.as_tensor(squares / num_values).sqrt(), num_values
    )


def merge_moments(parts: Sequence[ChannelMoments]) -> ChannelMoments:
    """Return the moments of the values of all parts together.

    Example:
        >>> parts = [channel_moments(torch.tensor([[value]]), dim=1) for value in (1.0, 3.0)]
        >>> merge_moments(parts).std.tolist()
        [1.0]
    """
    if len(parts) == 1:
        return parts[0]
    num_values = sum(part.num_values for part in parts)
    shares = [part.num_values / num_values for part in parts]
    mean = sum(share * part.mean for share, part in zip(shares, parts, strict=True))
    variance = sum(
        share * (part.std.square() + (part.mean - mean).square())
        for share, part in zip(shares, parts, strict=True)
    )
    return ChannelMoments(torch.as_tensor(mean), torch.as_tensor(variance).sqrt(), num_values)


def affine_between(raw: ChannelMoments, wanted: ChannelMoments) -> tuple[Tensor, Tensor]:
    """Return the scale and shift ``(C,)`` that give channels other moments.

    A channel that is all but constant becomes so, at the mean that is wanted: to stretch it would
    amplify rounding.
    """
    scale = torch.where(raw.std * _LARGEST_SCALE > wanted.std, wanted.std / raw.std, 0.0)
    return scale, wanted.mean - scale * raw.mean
