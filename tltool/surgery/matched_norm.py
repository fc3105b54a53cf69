"""What takes the place of a norm layer: another norm, or a fixed affine map, matched to it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool.surgery.calibrated_module import Calibrated
from tltool.surgery.channel_layout import Channels
from tltool.surgery.channel_moments import ChannelMoments, affine_between


class MatchedNorm(Calibrated):
    """A group norm whose outputs have the mean and deviation that the old norm's had.

    Its scale and shift of each channel are set so; they train where their layer group does,
    without weight decay.

    Args:
        old: The norm whose place it takes.
        channels: Of what the old one puts out.
        num_groups: A divisor of the number of channels; 1 for a layer norm.
        eps: Added to the variance.

    Shape:
        - Input and output: ``(B, C, *)``, or ``(B, *, C)`` where the channels are last.
    """

    def __init__(
        self, old: nn.Module, channels: Channels, *, num_groups: int, eps: float = 1e-5
    ) -> None:
        super().__init__(old, channels)
        self.num_groups = num_groups
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels.num))
        self.bias = nn.Parameter(torch.zeros(channels.num))

    def _normalize(
        self, inputs: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        planes = inputs.movedim(self.channels.dim, 1)  # (B, C, *)
        normalized = functional.group_norm(planes, self.num_groups, weight, bias, self.eps)
        return normalized.movedim(1, self.channels.dim)

    def raw(self, inputs: Tensor) -> Tensor:
        """Return the normalized inputs, neither scaled nor shifted."""
        return self._normalize(inputs)

    def set_values_(self, raw: ChannelMoments, old: ChannelMoments) -> None:
        """Set scale and shift of each channel."""
        scale, shift = affine_between(raw, old)
        self.weight.copy_(scale)
        self.bias.copy_(shift)

    def forward_calibrated(self, inputs: Tensor) -> Tensor:
        """Return the normalized inputs, scaled and shifted."""
        return self._normalize(inputs, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of it."""
        return f"{self.channels.num}, num_groups={self.num_groups}, eps={self.eps}"


class FixedAffine(Calibrated):
    """A scale and a shift of each channel in place of a norm, which nothing trains.

    Args:
        old: The norm whose place it takes.
        channels: Of what the old one puts out.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, old: nn.Module, channels: Channels) -> None:
        super().__init__(old, channels)
        self.register_buffer("scale", torch.ones(channels.num))
        self.register_buffer("shift", torch.zeros(channels.num))

    def raw(self, inputs: Tensor) -> Tensor:
        """Return the inputs."""
        return inputs

    def set_values_(self, raw: ChannelMoments, old: ChannelMoments) -> None:
        """Set scale and shift of each channel."""
        scale, shift = affine_between(raw, old)
        self.scale.copy_(scale)
        self.shift.copy_(shift)

    def forward_calibrated(self, inputs: Tensor) -> Tensor:
        """Return the inputs, scaled and shifted."""
        scale, shift = (self.per_channel(each, inputs) for each in (self.scale, self.shift))
        return scale * inputs + shift

    def extra_repr(self) -> str:
        """Return what ``print`` shows of it."""
        return f"{self.channels.num}"
