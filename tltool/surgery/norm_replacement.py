"""Replace norm layers by others, or by a fixed scale and shift, with the features kept near."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tltool._lookup import lookup
from tltool.surgery.calibrated_module import Calibrated
from tltool.surgery.matched_norm import FixedAffine, MatchedNorm
from tltool.surgery.module_replacement import Place, replace_modules, without_activation
from tltool.surgery.norm_choice import Forward, NormInput, check_sizes, choose_norms
from tltool.surgery.norm_kinds import norm_kind, with_norm
from tltool.surgery.norm_replacement_report import ReplacedNorms

log = logging.getLogger(__name__)

USUAL_GROUPS = 8
"""The fewer groups, the more a matched norm kept of EfficientNet-Lite0's features: a probe on ants
and bees reached .837 with 32, .850 with 16, .876 with 8, .889 with 4, .915 with 1; .908 before
(f9cc939, by the command in the README of this folder). Chosen on these images; on brain MRI, which
chose nothing, 8 kept .783 of .807 (`scripts/benchmark/surgery_pays.py`)."""
FEWEST_CHANNELS = 8
"""Of a group, where nothing is said and there are enough."""


def replace_norms(
    model: nn.Module,
    to: Literal["group", "layer"],
    *,
    only: str | Sequence[str] = "*",
    old: str | None = None,
    num_groups: int | None = None,
    match: Literal["moments", "none"] | None = "moments",
    example: Tensor | None = None,
    forward: Forward | None = None,
) -> ReplacedNorms:
    """Replace the norms of a model by group or layer norms, in place.

    These treat each image by itself, so they do the same in training and evaluation, on any batch.
    Put in naively, they ruin pretrained features: with real EfficientNet-Lite0 at 128 px a probe on
    ants and bees fell from .908 to .614, and stayed at .876 with matched moments
    (`scripts/benchmark/surgery_pays.py`). Activations that a norm holds stay.

    Args:
        model: Is changed.
        to: ``group``, over groups of channels and all places of an image (Wu & He, 2018,
            https://arxiv.org/abs/1803.08494); ``layer``, over all channels and places (Ba et al.,
            2016, https://arxiv.org/abs/1607.06450).
        only: One or more patterns of dotted names of norms, as in ``fnmatch``: ``blocks.*``.
        old: The kind to replace, such as ``batch``; ``None`` for every kind but ``to``.
        num_groups: The most groups of a group norm: each has the largest number up to it that
            divides its channels. ``None`` for 8, and at least 8 channels in a group.
        match: ``moments`` sets scale and shift of each channel so that it has the mean and
            deviation that the old norm gave it on calibration images, see `calibrate_`. Until
            these have come, ``forward`` raises. ``none`` leaves scale and shift of the old norm.
        example: An image ``(1, C, H, W)`` of the size that the model takes, which tells how many
            channels there are. In a `Backbone` it is there already.
        forward: What passes it; ``None`` for the model itself.

    Returns:
        Which norms changed, which stay, and why.

    Raises:
        ValueError: If there is nothing to replace, a pattern matches no norm, or a group would
            hold one number, which it makes 0.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
        >>> print(replace_norms(model, "group", example=torch.zeros(1, 3, 8, 8)))
        Replaced 1 of 1 norms (batch) by group norm.
        >>> model[1]
        MatchedNorm(16, num_groups=2, eps=1e-05)
    """
    lookup({"group": 1, "layer": 1}, to, kind="norm to replace others by")
    lookup({"moments": 1, "none": 1}, match or "none", kind="match")
    if num_groups is not None and (to == "layer" or num_groups < 1):
        raise ValueError(
            f"`num_groups` is the number of groups of `to: group`, at least 1; got {num_groups!r} "
            f"with `to: {to}`."
        )

    def groups_of(given: NormInput) -> int:
        return 1 if to == "layer" else _groups(given, num_groups)

    def size_of(given: NormInput) -> int:
        return given.channels.num * given.num_places // groups_of(given)

    def create(norm: nn.Module, given: NormInput) -> Calibrated:
        new = MatchedNorm(norm, given.channels, num_groups=groups_of(given))
        if match != "moments":
            _take_affine_(new, norm)
            new.finish_()
        return new

    fates = choose_norms(model, to, only, old, example=example, forward=forward)
    check_sizes(fates, size_of, to)
    return replace(_replace(model, to, fates, create), is_matched=match == "moments")


def remove_norms(
    model: nn.Module,
    *,
    only: str | Sequence[str] = "*",
    old: str | None = None,
    example: Tensor | None = None,
    forward: Forward | None = None,
) -> ReplacedNorms:
    """Replace the norms of a model by a fixed scale and shift of each channel, in place.

    That is what a batch norm does in evaluation mode, so outputs stay, but for rounding. Of other
    norms it is matched: each channel gets the mean and deviation that it had on calibration images,
    see `calibrate_`. Activations that a norm holds stay. Where a layer in front can do the work,
    `fold_norms` leaves less to compute.

    Args:
        model: Is changed.
        only: See `replace_norms`.
        old: The kind to remove, such as ``batch``; ``None`` for every kind.
        example: See `replace_norms`.
        forward: See `replace_norms`.

    Returns:
        Which norms are removed, which stay, and why.

    Raises:
        ValueError: If there is nothing to remove, or a pattern matches no norm.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
        >>> print(remove_norms(model, example=torch.zeros(1, 4)))
        Removed 1 of 1 norms (batch).
        >>> model[0]
        FixedAffine(4)
    """

    def create(norm: Any, given: NormInput) -> Calibrated:
        new = FixedAffine(norm, given.channels)
        if norm_kind(norm) == "batch" and norm.running_mean is not None:
            scale = (norm.running_var.double() + norm.eps).rsqrt()
            scale = scale if norm.weight is None else scale * norm.weight.double()
            shift = -norm.running_mean.double() * scale
            new.scale = scale.to(norm.running_var)
            new.shift = (shift if norm.bias is None else shift + norm.bias.double()).to(new.scale)
            new.finish_()
        return new

    fates = choose_norms(model, "fixed", only, old, example=example, forward=forward)
    return _replace(model, "fixed", fates, create)


@torch.no_grad()
def _replace(
    model: nn.Module,
    to: str,
    fates: Mapping[Place, NormInput | str],
    create: Callable[[Any, NormInput], Calibrated],
) -> ReplacedNorms:
    """Put what ``create`` makes of each chosen norm in its place."""
    chosen = {p.module: given for p, given in fates.items() if isinstance(given, NormInput)}
    replaced = {place: str(norm_kind(place.module)) for place in fates if place.module in chosen}

    def make(place: Place) -> nn.Module:
        new = create(without_activation(place.module), chosen[place.module])
        return with_norm(place, new)

    replace_modules(model, lambda place: place.module in chosen, make)
    report = ReplacedNorms(
        to=to,
        replaced={name: kind for place, kind in replaced.items() for name in place.names},
        kept={n: why for p, why in fates.items() if isinstance(why, str) for n in p.names},
        num_replaced=len(chosen),
        num_norms=len(fates),
    )
    log.info("%s", report)
    return report


def _groups(given: NormInput, num_groups: int | None) -> int:
    """Return the largest number of groups up to the wanted one that divides the channels."""
    num = given.channels.num
    fewest = 1 if num_groups else FEWEST_CHANNELS
    most = min(num_groups or USUAL_GROUPS, max(1, num // fewest))
    return max(n for n in range(1, most + 1) if num % n == 0)


def _take_affine_(new: MatchedNorm, norm: Any) -> None:
    """Set scale and shift to those of a norm that has them."""
    for name in ("weight", "bias"):
        own = getattr(norm, name, None)
        if own is not None:
            getattr(new, name).copy_(own)
