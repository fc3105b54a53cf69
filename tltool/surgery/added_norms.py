"""Add batch norms to layers of a network without, which begin as the identity."""

import functools
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tltool.layers.norms import BatchNorm
from tltool.surgery.adapters import LAYERS, LowRankUpdate, check_adapters
from tltool.surgery.calibrated_module import Calibrated
from tltool.surgery.channel_layout import Channels
from tltool.surgery.channel_moments import ChannelMoments
from tltool.surgery.module_replacement import Place, check_patterns, matches, walk
from tltool.surgery.norm_inputs import NormInputs, find_norm_inputs

log = logging.getLogger(__name__)


class AddedBatchNorm(Calibrated):
    """A batch norm that changes nothing in evaluation mode until it trains.

    Its running statistics are those of the calibration images, and its scale and shift undo them.

    Args:
        channels: Of what the layer in front puts out.

    Shape:
        - Input and output: ``(B, C, *)``, or ``(B, *, C)`` where the channels are last.
    """

    def __init__(self, channels: Channels) -> None:
        super().__init__(nn.Identity(), channels)
        self.norm = BatchNorm(channels.num)

    def raw(self, inputs: Tensor) -> Tensor:
        """Return the inputs."""
        return inputs

    @torch.no_grad()
    def set_values_(self, raw: ChannelMoments, old: ChannelMoments) -> None:
        """Set the statistics, and scale and shift to undo them."""
        norm: Any = self.norm
        norm.running_mean.copy_(raw.mean)
        norm.running_var.copy_(raw.std.square())
        norm.weight.copy_((norm.running_var.double() + norm.eps).sqrt())
        norm.bias.copy_(raw.mean)

    def forward_calibrated(self, inputs: Tensor) -> Tensor:
        """Return the inputs, normalized by the batch in training mode."""
        planes = inputs.movedim(self.channels.dim, 1)  # (B, C, *)
        columns = planes.reshape(*planes.shape[:2], -1) if planes.ndim > 2 else planes  # (B, C, N)
        normalized: Tensor = self.norm(columns)
        return normalized.reshape(planes.shape).movedim(1, self.channels.dim)


class FollowedLayer:
    """What a layer with an added norm does besides: it passes its output through the norm.

    The layer stays where it was, so keys of the state dict do not change, and the new ones stand
    beside its ``weight``.
    """

    added_norm: AddedBatchNorm

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the output of the layer, normalized."""
        return self.added_norm(super().forward(*args, **kwargs))  # type: ignore[misc, no-any-return]


@dataclass(frozen=True)
class AddedNorms:
    """Which layers have got a batch norm behind them, and which have not.

    Together, ``added`` and ``kept`` hold every dotted name of a linear layer or convolution, of
    which a shared one has several; the numbers count it once.
    """

    added: tuple[str, ...]
    #: The reason why each other layer stays, by dotted name.
    kept: Mapping[str, str]
    num_added: int
    num_layers: int

    #: Modules that give other outputs, and what is wrong with these: a new norm is the identity.
    changed: ClassVar[tuple[str, ...]] = ()
    damage: ClassVar[str | None] = None

    def __str__(self) -> str:
        kept = [f"{count} {why}" for why, count in Counter(self.kept.values()).items()]
        return (
            f"Added batch norms behind {self.num_added} of {self.num_layers} linear layers and "
            f"convolutions{'; kept ' if kept else ''}{', '.join(kept)}."
        )


def add_norms(
    model: nn.Module,
    *,
    only: str | Sequence[str] = "*",
    example: Tensor | None = None,
    forward: Callable[[Tensor], object] | None = None,
) -> AddedNorms:
    """Add batch norms behind linear layers and convolutions of a network without, in place.

    As in VGG with batch norm, which trains faster and at higher rates (Ioffe & Szegedy, 2015,
    https://arxiv.org/abs/1502.03167). Each begins as the identity: its statistics are taken from
    calibration images, see `calibrate_`, and its scale and shift undo them, so in evaluation mode
    the outputs stay, but for rounding. Until the images have come, ``forward`` raises.

    Args:
        model: Is changed.
        only: One or more patterns of dotted names of layers, as in ``fnmatch``: ``features.*``.
            A layer with a norm right behind it gets none.
        example: An image ``(1, C, H, W)`` of the size that the model takes: what is behind a layer
            is seen by running the network. In a `Backbone` it is there already.
        forward: What passes it; ``None`` for the model itself.

    Returns:
        Which layers have a norm now, and which have none.

    Raises:
        ValueError: If no layer gets one, one has an adapter, or a pattern matches no layer.

    Example:
        >>> from tltool.surgery.calibration import calibrate_
        >>> model, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.randn(8, 3, 8, 8)
        >>> before = model(images)
        >>> print(add_norms(model, example=images[:1]))
        Added batch norms behind 1 of 1 linear layers and convolutions.
        >>> torch.allclose(calibrate_(model, images).eval()(images), before, atol=1e-5)
        True
    """
    places = [place for place in walk(model) if isinstance(place.module, LAYERS)]
    kind = "linear layer or convolution"
    patterns = check_patterns(only, [place.names for place in places], kind)
    if example is None:
        raise ValueError(
            "add_norms runs the network to see what is behind a layer. Pass `example`, an image of "
            "the size that the model takes: example=torch.zeros(1, 3, 224, 224)."
        )
    found = find_norm_inputs(model, example, forward)
    fates = {place: _why_kept(place, patterns, found) for place in places}
    chosen = [place for place, why in fates.items() if why is None]
    check_adapters([p.names[0] for p in chosen if isinstance(p.module, LowRankUpdate)], "add_norms")
    if not chosen:
        reasons = Counter(fates.values())
        raise ValueError(
            f"No layer of {type(model).__name__} can have a batch norm added: "
            f"{', '.join(f'{count} {why}' for why, count in reasons.items())}. Choose other layers "
            "by `only`, or leave `add_norms` out."
        )
    for place in chosen:
        _follow_(place.module)
    report = AddedNorms(
        added=tuple(name for place in chosen for name in place.names),
        kept={name: why for place, why in fates.items() if why for name in place.names},
        num_added=len(chosen),
        num_layers=len(places),
    )
    log.info("%s", report)
    return report


def _why_kept(place: Place, patterns: Sequence[str], found: NormInputs) -> str | None:
    """Return why a layer gets no norm, if so."""
    if not matches(place.names, patterns):
        return "not selected"
    if place.module in found.normalized or isinstance(place.module, FollowedLayer):
        return "with a norm right behind"
    return None if place.module in found.layers_run else "not run"


def _follow_(layer: Any) -> None:
    """Give a layer a norm behind it."""
    is_linear = isinstance(layer, nn.Linear)
    num = layer.out_features if is_linear else layer.out_channels
    norm = AddedBatchNorm(Channels(num, -1 if is_linear else 1)).train(layer.training)
    layer.added_norm = norm.to(layer.weight.device, layer.weight.dtype)
    layer.__class__ = _followed_class(type(layer))  # type: ignore[arg-type]  # classes are hashable


@functools.cache
def _followed_class(cls: type[nn.Module]) -> type[nn.Module]:
    return type(f"Followed{cls.__name__}", (FollowedLayer, cls), {})
