"""Base of modules that an edit puts in place of others, with values from images."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tltool.surgery.channel_layout import Channels
from tltool.surgery.channel_moments import ChannelMoments


class Calibrated(nn.Module):
    """Base of a module that takes the place of another one, its values set once from images.

    Its structure follows from the edit alone and its values from the state dict, so a checkpoint
    rebuilds it without images. Until its values are set, or loaded, ``forward`` raises, and it
    keeps the old module, which is no submodule: neither its parameters nor its state are the
    model's.

    A subclass has ``raw`` and ``set_values_``, and ``forward_calibrated``. These must compute
    something before the values are set, too: where a module runs several times in one pass, the
    first calls come before the values.

    Args:
        old: The module whose place it takes.
        channels: Of what the old module puts out, see `find_channels`.
    """

    is_calibrated: Tensor

    def __init__(self, old: nn.Module, channels: Channels) -> None:
        super().__init__()
        self._begin_(channels, old)

    def _begin_(self, channels: Channels, *old: nn.Module) -> None:
        self.channels = channels
        self.register_buffer("is_calibrated", torch.tensor(False))
        self._old = [*old]  # In a list it is no submodule.
        self._is_known_calibrated = False
        self._during: Callable[[Any, Tensor], Tensor] | None = None

    @property
    def old(self) -> nn.Module:
        """The module whose place this one takes; there is none any more once it is calibrated."""
        return self._old[0]

    def forward_old(self, inputs: Tensor) -> Tensor:
        """Return what the old module puts out."""
        outputs: Tensor = self.old.eval()(inputs)
        return outputs

    def per_channel(self, values: Tensor, outputs: Tensor) -> Tensor:
        """Return values of the channels ``(C,)`` in a shape that multiplies outputs."""
        return values if self.channels.dim == -1 else values.view(-1, *[1] * (outputs.ndim - 2))

    def raw(self, inputs: Tensor) -> Tensor:
        """Return what the values are worked out from, such as the output without them."""
        raise NotImplementedError(f"{type(self).__name__} must define `raw`.")

    def set_values_(self, raw: ChannelMoments, old: ChannelMoments) -> None:
        """Set the values.

        Args:
            raw: The moments of what ``raw`` returns on the calibration images, their way up to here
                calibrated.
            old: The moments of what the old module put out in the old model.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `set_values_`.")

    def forward_calibrated(self, inputs: Tensor) -> Tensor:
        """Return what the module computes with its values."""
        raise NotImplementedError(
            f"{type(self).__name__} must define `forward_calibrated(inputs)`."
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the module computes.

        Raises:
            RuntimeError: If its values were neither set nor loaded.
        """
        if self._during is not None:
            return self._during(self, inputs)
        self._check_calibrated()
        return self.forward_calibrated(inputs)

    def finish_(self) -> None:
        """Note that the values are set, and forget the old module."""
        self.is_calibrated.fill_(True)
        self._is_known_calibrated = True
        self._old.clear()

    def _check_calibrated(self) -> None:
        if self._is_known_calibrated:  # Looked at once, as looking makes a GPU wait.
            return
        if not self.is_calibrated:
            raise RuntimeError(
                f"{type(self).__name__} has no values yet: this edit takes them from images. Call "
                "`backbone.calibrate_(images)` with about 128 shuffled training images (B, C, H, "
                "W), preprocessed as in evaluation, or load a checkpoint."
            )
        self._is_known_calibrated = True

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._is_known_calibrated = bool(self.is_calibrated)
        if self._is_known_calibrated:
            self._old.clear()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Calibrated":
        for old in self._old:  # To the device and type of the others.
            old._apply(fn)  # type: ignore[no-untyped-call]  # torch
        applied: Calibrated = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return applied
