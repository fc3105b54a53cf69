"""Batch norm gap: running statistics against those of the images, training against evaluation."""

import copy
import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool.diagnostics.checks.check_result import Check, CheckResult
from tltool.diagnostics.health.health_statistics import batch_norm_lag_on
from tltool.diagnostics.health.health_watch import NormHealth

#: No images are so unlike those of the pretraining: the statistics belong to other weights.
WRONG_SHIFT, WRONG_FACTOR = 5.0, 10.0
#: Training and evaluation see features as far apart as those of two images. Beyond it, from a
#: pretrained EfficientNet-Lite0 on photographs, a phase with batch statistics lost accuracy.
APART = 1.0

_KEPT = "No phase normalizes by the batch, so that training sees the features of evaluation mode"
CHECK = Check("batch norm")


@dataclass(frozen=True)
class NormGap(NormHealth):
    """How far the running statistics of a layer are from those of a batch.

    Attributes:
        is_untouched: Whether they are those of a new layer, mean 0 and variance 1.
    """

    is_untouched: bool


@dataclass(frozen=True)
class BatchNormGap:
    """The same images in training and in evaluation mode.

    Attributes:
        norms: Each layer with running statistics, from the input on.
        distance: Of the two outputs, relative to how much these differ from image to image.
    """

    norms: list[NormGap]
    distance: float


def batch_norm_gap(model: nn.Module, inputs: Tensor) -> BatchNormGap:
    """Pass a batch through a copy, with batch norms in training mode and in evaluation mode.

    Args:
        model: A network, such as a backbone; it is left as it is.
        inputs: One batch.

    Example:
        >>> norm = nn.BatchNorm1d(1)
        >>> gap = batch_norm_gap(norm, torch.tensor([[4.0], [6.0]]))
        >>> round(gap.norms[0].shift, 2), gap.norms[0].is_untouched
        (3.54, True)
    """
    norms: list[NormGap] = []

    def look(name: str, module: _BatchNorm, inputs: tuple[Tensor]) -> None:
        mean, var = module.running_mean, module.running_var
        lag = batch_norm_lag_on(module, inputs[0])
        if lag is not None and mean is not None and var is not None:
            norms.append(NormGap(name, *lag, bool((mean == 0).all() and (var == 1).all())))

    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        evaluated: Tensor = model(inputs)
        for name, module in model.named_modules():
            if isinstance(module, _BatchNorm):
                module.train()
                # A layer is judged by what it gets when those in front are right.
                module.register_forward_pre_hook(partial(look, name))
        trained: Tensor = model(inputs)
    spread = (evaluated - evaluated.mean(dim=0)).norm()
    return BatchNormGap(norms, float((trained - evaluated).norm() / spread.clamp_min(1e-12)))


def batch_norm_agrees(gap: BatchNormGap, num_images: int, *, trains: bool) -> CheckResult:
    """Say whether running statistics fit the images, with cause and remedy where they do not.

    Args:
        gap: What was seen.
        num_images: Number of images in the batch.
        trains: Whether any phase updates the running statistics.
    """
    if not gap.norms:
        return CHECK.ok("the backbone has none")
    worst = max(gap.norms, key=lambda norm: norm.size)
    seen = (
        f"{num_images} images in training and evaluation mode: features {100 * gap.distance:.0f} % "
        f"of their spread apart; worst of {len(gap.norms)} layers {worst.layer}, means "
        f"{worst.shift:.1f} standard deviations apart, these by a factor of {worst.factor:.1f}"
    )
    kind = _problem(gap, worst, trains=trains)
    if kind is not None:
        return CHECK.problem(kind, seen=seen)
    if _is_untouched(gap):
        return CHECK.ok(f"{seen}. The running statistics are new; training will move them")
    return CHECK.ok(seen + ("" if trains else f". {_KEPT}"))


def _problem(gap: BatchNormGap, worst: NormGap, *, trains: bool) -> str | None:
    """Return which problem of the table a gap is, if it is one."""
    if _is_untouched(gap):
        return None if trains else "new"
    if worst.shift > WRONG_SHIFT or not worst.factor <= WRONG_FACTOR or math.isnan(worst.shift):
        return "wrong"
    if trains:
        return "apart" if gap.distance > APART else None
    return "unlike" if worst.size > 1 else None


def _is_untouched(gap: BatchNormGap) -> bool:
    return all(norm.is_untouched for norm in gap.norms)
