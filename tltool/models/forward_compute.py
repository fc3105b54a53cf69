"""Share of the forward pass that each layer group takes, in floating-point operations."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tltool._module_state import evaluation_mode, frozen
from tltool.surgery.calibration import computing_old


def forward_shares(
    model: nn.Module, groups: Mapping[str, Sequence[str]], images: Tensor
) -> dict[str, float]:
    """Return the share of the operations of a forward pass that each layer group takes.

    Counted are convolutions and matrix products of the modules that own a group's parameters;
    attention between tokens has no parameters and is left out.

    Args:
        model: The network.
        groups: Parameter names by group, see `layer_groups`.
        images: What it is run on, ``(B, C, H, W)``.

    Returns:
        Shares that sum to 1, in the order of the groups.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 3, 1))
        >>> groups = {"stem": ["0.weight", "0.bias"], "last": ["1.weight", "1.bias"]}
        >>> forward_shares(model, groups, torch.zeros(1, 1, 4, 4))
        {'stem': 0.25, 'last': 0.75}
    """
    group_of = {name: group for group, names in groups.items() for name in names}
    counter = FlopCounterMode(display=False)
    # The counter fails without a graph where a module is given a view of a parameter that trains.
    with evaluation_mode(model), computing_old(model), frozen(model), torch.no_grad(), counter:
        model(images)
    # By the module's name, with that of the model's class in front; those of children included.
    root = type(model).__name__
    counts = {
        name.removeprefix(f"{root}."): sum(operations.values())
        for name, operations in counter.get_flop_counts().items()
    }
    shares = Counter(dict.fromkeys(groups, 0))
    for name, module in model.named_modules():
        own = [parameter for parameter, _ in module.named_parameters(recurse=False)]
        is_leaf = all(parameter in own for parameter, _ in module.named_parameters())
        if own and name and is_leaf:
            shares[group_of[f"{name}.{own[0]}"]] += counts.get(name, 0)
    total = max(sum(shares.values()), 1)
    return {group: shares[group] / total for group in groups}
