"""Merge blocks of several branches that know how, as timm's do for inference."""

from itertools import accumulate
from typing import Any

from torch import nn

from tltool._module_state import evaluation_mode
from tltool.surgery.module_replacement import Place, walk
from tltool.surgery.norm_kinds import mark_folded_

#: What timm calls the method of a block that returns the merged one, or merges itself.
METHODS = ("fuse", "reparameterize")


def block_around(model: nn.Module, name: str) -> Place | None:
    """Return the nearest block around a module that can merge its branches, if there is one.

    Args:
        model: Holds the block.
        name: The dotted name of the module.
    """
    parents = set(accumulate(name.split(".")[:-1], "{}.{}".format))
    places = [place for place in walk(model) if not parents.isdisjoint(place.names)]
    able = [place for place in places if any(hasattr(place.module, each) for each in METHODS)]
    return max(able, key=lambda place: len(place.names[0]), default=None)


def merge_block_(place: Place) -> None:
    """Let a block merge its branches, in place.

    They are one convolution in evaluation mode (Ding et al., 2021,
    https://arxiv.org/abs/2101.03697). What is new takes over mode, device, type of numbers and
    whether it trains.
    """
    block: Any = place.module
    was_training, parameters = block.training, list(block.parameters())
    old = {*block.modules()}
    with evaluation_mode(block):
        merged = block.fuse() if hasattr(block, "fuse") else block.reparameterize() or block
    for owner, attribute in place.owners:
        setattr(owner, attribute, merged)
    for module in set(merged.modules()) - old:
        module.training = was_training
        mark_folded_(module)
    merged.to(parameters[0].device, parameters[0].dtype)
    merged.requires_grad_(any(parameter.requires_grad for parameter in parameters))
