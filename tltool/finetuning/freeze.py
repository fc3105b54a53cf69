"""Freeze and unfreeze layer groups: gradients and train/eval mode together."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from torch import nn

from tltool.finetuning.groups import check_partition

M = TypeVar("M", bound=nn.Module)


def set_trainable_(module: M, groups: Mapping[str, Sequence[str]], trains: Collection[str]) -> M:
    """Make some layer groups trainable and freeze all others, in place.

    A frozen group has no gradients **and** is in eval mode as a whole. Without the second, running
    statistics of its batch norms drift, and dropout and drop path make each pass of a "fixed"
    backbone another one.

    A module belongs to the groups of its parameters, and is in eval mode when all of them are
    frozen. One without parameters (dropout, drop path) belongs to the nearest module in front of it
    that has some.

    Args:
        module: The model. If it has a ``backbone`` and a ``head``, modules beside them (losses,
            metrics, augmentations) keep their mode.
        groups: Parameter names by group, from the input on, as `layer_groups` returns them.
        trains: Names of the groups that train.

    Returns:
        ``module``.

    Raises:
        ValueError: If ``trains`` names no group of ``groups``, or these are no partition of the
            parameters.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 1))
        >>> groups = {"body": ["0.weight", "0.bias"], "head": ["2.weight", "2.bias"]}
        >>> [child.training for child in set_trainable_(model, groups, ["head"])]
        [False, False, True]
    """
    parameters = dict(module.named_parameters())
    check_partition(groups, list(parameters))
    unknown = sorted(set(trains) - set(groups))
    if unknown:
        raise ValueError(f"Unknown layer group {unknown[0]!r}. Choose from: {', '.join(groups)}.")
    for group, names in groups.items():
        for name in names:
            parameters[name].requires_grad_(group in trains)
            if group not in trains:  # An optimizer would go on stepping with a left-over gradient.
                parameters[name].grad = None
    members = module_groups(module, groups)
    modes = {member: not owners.isdisjoint(trains) for member, owners in members.items()}
    # Parents come before their children. The method, because LeViT clears a cache in it.
    for member, mode in modes.items():
        member.train(mode)
    # The second parent of a shared module has set it again.
    for member, mode in modes.items():
        member.training = mode
    return module


def module_groups(
    module: nn.Module, groups: Mapping[str, Sequence[str]]
) -> dict[nn.Module, set[str]]:
    """Return the layer groups of each module, parents before children.

    Args:
        module: The model, as in `set_trainable_`.
        groups: Parameter names by group, from the input on.
    """
    order = {group: index for index, group in enumerate(groups)}
    by_name = {name: group for group, names in groups.items() for name in names}
    owner = {id(parameter): by_name[name] for name, parameter in module.named_parameters()}
    members: dict[nn.Module, set[str]] = {}

    def visit(member: nn.Module, in_front: str | None) -> str | None:
        """Note the groups of ``member`` and return the last of them, in front of what follows."""
        own = {owner[id(parameter)] for parameter in member.parameters()}
        if not own and in_front is not None:
            own = {in_front}
        members.setdefault(member, set()).update(own)
        # A child without parameters at the front of a container lies on its input side.
        last = min(own, key=order.__getitem__, default=None)
        for child in member.children():
            last = visit(child, last)
        return max(own, key=order.__getitem__, default=in_front)

    task_like = hasattr(module, "backbone") and hasattr(module, "head")
    for root in ("backbone", "head") if task_like else ("",):
        visit(module.get_submodule(root), None)
    return members
