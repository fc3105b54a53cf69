"""Fold batch norms into the layers in front: a network in evaluation mode that does less work."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from tltool._module_state import evaluation_mode
from tltool.surgery.adapters import check_adapters
from tltool.surgery.block_merging import block_around, merge_block_
from tltool.surgery.calibration import computing_old
from tltool.surgery.module_replacement import Place, check_patterns, matches, replace_modules
from tltool.surgery.norm_inputs import BEHIND_ADAPTER, NormInputs, find_norm_inputs
from tltool.surgery.norm_kinds import (
    batch_norms,
    behind_norm,
    check_replaced,
    check_statistics,
    is_batch_norm,
    mark_folded_,
)

log = logging.getLogger(__name__)

Forward = Callable[[Tensor], object]

TOLERANCE = 1e-4
"""Length of the difference to the outputs of the network itself, as a share of theirs. Rounding
alone makes 1e-6 to 1e-5."""


@dataclass(frozen=True)
class FoldedNorms:
    """Which batch norms are part of a layer now, and which are left, with the reason.

    Together, ``folded``, ``merged`` and ``kept`` hold every dotted name of a batch norm, of which a
    shared one has several; the numbers count it once.
    """

    #: The layer that does the work of a norm, by the dotted name of the norm.
    folded: Mapping[str, str]
    #: The block of several branches that merged itself, by the dotted name of the norm.
    merged: Mapping[str, str]
    #: The reason why each other norm stays, by dotted name.
    kept: Mapping[str, str]
    num_folded: int
    num_norms: int

    #: Modules that give other outputs, and what is wrong with these: folding is exact.
    changed: ClassVar[tuple[str, ...]] = ()
    damage: ClassVar[str | None] = None

    def __str__(self) -> str:
        kept = [f"{count} {why}" for why, count in Counter(self.kept.values()).items()]
        blocks = len(set(self.merged.values()))
        merged = f" ({len(self.merged)} of them in {blocks} merged blocks)" if blocks else ""
        return (
            f"Folded {self.num_folded} of {self.num_norms} batch norms{merged}"
            f"{'; kept ' if kept else ''}{', '.join(kept)}."
        )


def fold_norms(
    model: nn.Module,
    *,
    only: str | Sequence[str] = "*",
    example: Tensor | None = None,
    forward: Forward | None = None,
) -> FoldedNorms:
    """Make batch norms part of the linear layers and convolutions in front, in place.

    In evaluation mode a batch norm multiplies and shifts each channel by constants, as the layer in
    front can do itself (Markus, 2018, https://nenadmarkus.com/p/fusing-batchnorm-and-conv/). Blocks
    of several branches that can merge them, as those of RepVGG (Ding et al., 2021,
    https://arxiv.org/abs/2101.03697), are merged where no layer could take a norm else. Activations
    that a norm holds stay under their names.

    For networks that stay as they are: in training nothing normalizes the folded layers.

    Args:
        model: Is changed. Its outputs stay, but for rounding.
        only: One or more patterns of dotted names of batch norms, as in ``fnmatch``: ``blocks.*``.
        example: An image ``(1, C, H, W)`` of the size that the model takes: what is in front of a
            norm is seen by running the network. In a `Backbone` it is there already.
        forward: What passes images; ``None`` for the model itself.

    Returns:
        What is folded, and what is not.

    Raises:
        ValueError: If there is no batch norm, none can be folded, one is behind a layer with an
            adapter, a pattern matches none, or the folded network would give other outputs.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        >>> print(fold_norms(model, example=torch.zeros(1, 3, 8, 8)))
        Folded 1 of 1 batch norms.
        >>> model
        Sequential(
          (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
          (1): Identity()
          (2): ReLU()
        )
    """
    places = batch_norms(model)
    check_replaced(model, places, only)
    if not places:
        raise ValueError(
            f"Cannot fold norms: {type(model).__name__} has no batch norm below it, and others "
            "normalize each image by itself. Leave `fold_norms` out."
        )
    patterns = check_patterns(only, [place.names for place in places], kind="batch norm")
    chosen = [place for place in places if matches(place.names, patterns)]
    check_statistics(chosen)
    if example is None:
        raise ValueError(
            "fold_norms runs the network to see what is in front of a norm. Pass `example`, an "
            "image of the size that the model takes: example=torch.zeros(1, 3, 224, 224)."
        )
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, *example.shape[1:], generator=generator).to(example)
    run = forward or model
    _check_layers(chosen, find_norm_inputs(model, images, run))
    before = _outputs(model, run, images)
    report = fold_where_possible_(model, chosen, images, run)
    if not report.num_folded:
        raise ValueError(
            f"No batch norm of {type(model).__name__} can be folded: "
            f"{', '.join(sorted(set(report.kept.values())))}. `remove_norms` makes each a fixed "
            "scale and shift of its channels instead."
        )
    _check(before, _outputs(model, run, images), model)
    log.info("%s", report)
    return report


@torch.no_grad()
def fold_where_possible_(
    model: nn.Module, chosen: Sequence[Place], images: Tensor, forward: Forward | None = None
) -> FoldedNorms:
    """Fold batch norms where a layer in front can take them, in place; see `fold_norms`.

    Args:
        model: Is changed.
        chosen: Batch norms of it.
        images: ``(B, C, H, W)`` to run the network on.
        forward: What passes them; ``None`` for the model itself.
    """
    places = batch_norms(model)
    by_norm = {place.module: place for place in chosen}
    merged = _merge_blocks(model, by_norm, find_norm_inputs(model, images, forward))
    inputs = find_norm_inputs(model, images, forward)
    folded = {norm: layer for norm, layer in inputs.layer_of.items() if norm in by_norm}
    report = _report(model, places, merged, folded, inputs.reasons)
    for norm, layer in folded.items():
        _fold_(layer, norm)
    if folded:
        replace_modules(model, lambda place: place.module in folded, behind_norm)
    return report


def _check_layers(chosen: Sequence[Place], found: NormInputs) -> None:
    """Refuse norms behind a layer with an adapter."""
    adapted = [p.names[0] for p in chosen if found.reasons.get(p.module) == BEHIND_ADAPTER]
    check_adapters(adapted, "fold_norms")


@torch.no_grad()
def _outputs(model: nn.Module, forward: Forward, images: Tensor) -> Tensor:
    with evaluation_mode(model), computing_old(model):
        outputs: Any = forward(images)
    return cast(Tensor, outputs).flatten(1)


def _fold_(layer: Any, norm: Any) -> None:
    """Give a layer the weight and bias that make it do what a norm behind it does."""
    weight, bias = layer.weight.detach().double(), layer._parameters["bias"]
    scale = (norm.running_var.double() + norm.eps).rsqrt()  # (C,)
    shift = -norm.running_mean.double()
    if bias is not None:
        shift = shift + bias.double()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = shift * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    folded = weight * scale.view(-1, *[1] * (weight.ndim - 1))
    layer.weight.copy_(folded)
    if bias is None:
        empty = torch.empty_like(layer.weight[:, *[0] * (weight.ndim - 1)])
        layer.bias = nn.Parameter(empty, requires_grad=layer.weight.requires_grad)
    layer.bias.copy_(shift)
    mark_folded_(layer)


def _merge_blocks(
    model: nn.Module, chosen: Mapping[nn.Module, Place], found: NormInputs
) -> dict[nn.Module, str]:
    """Merge blocks of several branches that hold a chosen norm which no layer can take.

    Returns:
        The name of the block by each norm that it has no longer.
    """
    merged: dict[nn.Module, str] = {}
    for norm in found.reasons:
        is_open = norm in chosen and norm not in merged
        block = block_around(model, chosen[norm].names[0]) if is_open else None
        norms = [each for each in block.module.modules() if is_batch_norm(each)] if block else []
        if block and all(each in chosen for each in norms):
            merge_block_(block)
            left = {*model.modules()}
            merged |= {each: block.names[0] for each in norms if each not in left}
    return merged


def _report(
    model: nn.Module,
    places: Sequence[Place],
    merged: Mapping[nn.Module, str],
    folded: Mapping[nn.Module, nn.Module],
    reasons: Mapping[nn.Module, str],
) -> FoldedNorms:
    names = {module: name for name, module in model.named_modules()}
    layers = {norm: names[layer] for norm, layer in folded.items()}
    done = merged.keys() | folded.keys()
    return FoldedNorms(
        folded={name: layers[p.module] for p in places if p.module in layers for name in p.names},
        merged={name: merged[p.module] for p in places if p.module in merged for name in p.names},
        kept={
            name: reasons.get(p.module, "not selected")
            for p in places
            if p.module not in done
            for name in p.names
        },
        num_folded=len(done),
        num_norms=len(places),
    )


def _check(before: Tensor, after: Tensor, model: nn.Module) -> None:
    """Raise if outputs differ by more than rounding; those that are not finite say nothing."""
    if not before.isfinite().all():
        return
    difference, length = (after - before).norm(dim=1), before.norm(dim=1)
    if not (difference <= TOLERANCE * length).all():
        share = float((difference / length).max())
        raise ValueError(
            f"{type(model).__name__} gives other outputs with folded norms: they differ by "
            f"{share:.1g} of their length. Leave `fold_norms` out, or choose norms by `only`."
        )
