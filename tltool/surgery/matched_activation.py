"""An activation with an affine map of each channel behind it, matched to the one it replaces."""

import torch
from torch import Tensor, nn

from tltool.surgery.calibrated_module import Calibrated
from tltool.surgery.channel_layout import Channels
from tltool.surgery.channel_moments import ChannelMoments, affine_between


class MatchedActivation(Calibrated):
    """An activation whose outputs have the mean and deviation that the old one's had.

    The map is ``scale * activation(z) + shift``, with a parameter of each for each channel. They
    train where their layer group does, without weight decay, as the affine part of a norm.

    Args:
        activation: The new activation.
        old: The one whose place it takes.
        channels: Of what the old one puts out.
    """

    def __init__(self, activation: nn.Module, old: nn.Module, channels: Channels) -> None:
        super().__init__(old, channels)
        self.activation = activation
        self.scale = nn.Parameter(torch.ones(channels.num))
        self.shift = nn.Parameter(torch.zeros(channels.num))

    def raw(self, inputs: Tensor) -> Tensor:
        """Return what the new activation alone puts out."""
        outputs: Tensor = self.activation(inputs)
        return outputs

    def set_values_(self, raw: ChannelMoments, old: ChannelMoments) -> None:
        """Set the map of each channel."""
        scale, shift = affine_between(raw, old)
        self.scale.copy_(scale)
        self.shift.copy_(shift)

    def forward_calibrated(self, inputs: Tensor) -> Tensor:
        """Return the activations, stretched and shifted."""
        outputs = self.raw(inputs)
        return self.per_channel(self.scale, outputs) * outputs + self.per_channel(
            self.shift, outputs
        )
