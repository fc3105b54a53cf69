"""Running statistics of batch norms, estimated again on images."""

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool.surgery.calibrated_module import Calibrated
from tltool.surgery.channel_layout import Channels
from tltool.surgery.channel_moments import ChannelMoments
from tltool.surgery.module_replacement import check_patterns, matches, walk

log = logging.getLogger(__name__)


class ReestimatedNorm(Calibrated):
    """What a batch norm does besides, while an edit has its statistics from images.

    Its parameters and statistics keep their names, and what it computes is what its class does.
    """

    plain_class: Any
    blend: float
    running_mean: Tensor
    running_var: Tensor
    _before: tuple[Tensor, Tensor] | None

    def forward_old(self, inputs: Tensor) -> Tensor:
        """Return what it computes with the statistics that it has."""
        return self.forward_calibrated(inputs)

    def raw(self, inputs: Tensor) -> Tensor:
        """Return the inputs, whose moments are the statistics."""
        return inputs

    def set_values_(self, raw: ChannelMoments, old: ChannelMoments) -> None:
        """Blend the statistics of all calibration images into those that it had."""
        if self._before is None:  # Where it runs several times, values are set several times.
            self._before = self.running_mean.clone(), self.running_var.clone()
        unbiased = raw.std.square() * (raw.num_values / (raw.num_values - 1))
        for buffer, before, new in zip(
            (self.running_mean, self.running_var), self._before, (raw.mean, unbiased), strict=True
        ):
            buffer.copy_(before.double().lerp(new, self.blend))

    def forward_calibrated(self, inputs: Tensor) -> Tensor:
        """Return the normalized inputs."""
        outputs: Tensor = self.plain_class.forward(self, inputs)
        return outputs


@dataclass(frozen=True)
class ReestimatedStatistics:
    """Which batch norms take their statistics from images."""

    blend: float
    reestimated: tuple[str, ...]
    #: The reason why each other batch norm keeps its own, by dotted name.
    kept: Mapping[str, str]
    num_reestimated: int
    num_norms: int

    #: What is wrong with the features until the layers train: the edit is asked for, and measured.
    damage: ClassVar[str | None] = None

    @property
    def changed(self) -> tuple[str, ...]:
        """Dotted names of the modules that give other outputs now."""
        return self.reestimated

    def __str__(self) -> str:
        kept = f"; kept {len(self.kept)} not selected" if self.kept else ""
        return (
            f"Re-estimated the statistics of {self.num_reestimated} of {self.num_norms} batch "
            f"norms: a share of {self.blend:g} is of calibration images{kept}."
        )


def reestimate_statistics(
    model: nn.Module, blend: float, *, only: str | Sequence[str] = "*"
) -> ReestimatedStatistics:
    """Take running statistics of batch norms from calibration images, in part or wholly; in place.

    Each is set once, from all images together and from the input on, as in precise batch norm (Wu &
    Johnson, 2021, https://arxiv.org/abs/2105.07576, section 3); see `calibrate_`. Until the images
    have come, ``forward`` raises.

    It usually does harm: with few images the late layers lose what pretraining has measured on
    many. On tf_efficientnet_lite0, ants and bees at 128 pixels, a probe of .908 (standard error
    .023) fell to .824 with statistics of 128 images alone, and to .882 with a tenth of them
    (f9cc939, by the command in the README of this folder). After a swap of activations,
    `match: moments` did better.

    Args:
        model: Is changed. Keys of its state dict stay, and ``is_calibrated`` of each norm is new.
        blend: Share of the new statistics, in ``(0, 1]``.
        only: One or more patterns of dotted names, as in ``fnmatch``: ``layer4.*``.

    Returns:
        Which norms will be changed.

    Raises:
        ValueError: If there is no batch norm with running statistics, a pattern matches none, or
            ``blend`` is out of its range.
        TypeError: If a pattern is no text.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        >>> print(reestimate_statistics(model, 0.1))
        Re-estimated the statistics of 1 of 1 batch norms: a share of 0.1 is of calibration images.
    """
    if isinstance(blend, bool) or not 0 < blend <= 1:
        raise ValueError(
            f"`blend` must be in (0, 1], got {blend!r}: the share of the new statistics. 0.1 does "
            "little harm; 1 keeps nothing of the old ones."
        )
    places = [place for place in walk(model) if _has_statistics(place.module)]
    if not places:
        raise ValueError(
            f"{type(model).__name__} has no batch norms with running statistics. Leave "
            "`reestimate_statistics` out."
        )
    patterns = check_patterns(only, [place.names for place in places], kind="batch norm")
    chosen = [place for place in places if matches(place.names, patterns)]
    for place in chosen:
        _reestimate_(place.module, float(blend))
    report = ReestimatedStatistics(
        blend=float(blend),
        reestimated=tuple(name for place in chosen for name in place.names),
        kept={n: "not selected" for place in places if place not in chosen for n in place.names},
        num_reestimated=len(chosen),
        num_norms=len(places),
    )
    log.info("%s", report)
    return report


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None


def _reestimate_(norm: Any, blend: float) -> None:
    if isinstance(norm, ReestimatedNorm):
        raise ValueError("Statistics are re-estimated once: leave out one `reestimate_statistics`.")
    norm.__class__ = _reestimated_class(type(norm))  # type: ignore[arg-type]  # classes have a hash
    norm._begin_(Channels(norm.num_features, 1))
    norm.is_calibrated = norm.is_calibrated.to(norm.running_mean.device)
    norm.blend, norm._before = blend, None


@functools.cache
def _reestimated_class(cls: type[nn.Module]) -> type[nn.Module]:
    return type(f"Reestimated{cls.__name__}", (ReestimatedNorm, cls), {"plain_class": cls})
