"""Freeze and unfreeze layer groups: gradients and train/eval mode together."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar, get_args

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool._lookup import lookup
from tltool.finetuning.parameter_kinds import parameters_of_kind, parameters_of_modules
from tltool.finetuning.phase import (
    KEEPS_STATISTICS,
    KEEPS_WEIGHTS,
    BatchNormMode,
    ParameterKind,
)
from tltool.models.layer_groups import check_partition

M = TypeVar("M", bound=nn.Module)

HEAD = "head"
"""The layer group of the head."""


def set_trainable_(
    module: M,
    groups: Mapping[str, Sequence[str]],
    trains: Collection[str] | Mapping[str, ParameterKind],
    *,
    batch_norm: BatchNormMode = "train",
) -> M:
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
        trains: Names of the groups that train; in a mapping, with the kind of parameters that do.
        batch_norm: What batch norms do in groups that train, see `Phase`; those of the group
            `HEAD` are new, and always train with it.

    Returns:
        ``module``.

    Raises:
        ValueError: If ``trains`` names no group of ``groups``, these are no partition of the
            parameters, or no parameter would train.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 1))
        >>> groups = {"body": ["0.weight", "0.bias"], "head": ["2.weight", "2.bias"]}
        >>> [child.training for child in set_trainable_(model, groups, ["head"])]
        [False, False, True]
    """
    parameters = dict(module.named_parameters())
    check_partition(groups, list(parameters))
    trained = trainable_names(module, groups, trains, batch_norm=batch_norm)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
        if name not in trained:  # An optimizer would go on stepping with a left-over gradient.
            parameter.grad = None
    members = module_groups(module, groups)
    modes = {member: not owners.isdisjoint(trains) for member, owners in members.items()}
    # Parents come before their children. The method, because LeViT clears a cache in it.
    for member, mode in modes.items():
        member.train(mode)
    # Again without the method, for what the second parent of a shared module has set.
    for member, mode in modes.items():
        is_pretrained = isinstance(member, _BatchNorm) and HEAD not in members[member]
        member.training = mode and not (is_pretrained and batch_norm in KEEPS_STATISTICS)
    return module


def trainable_names(
    module: nn.Module,
    groups: Mapping[str, Sequence[str]],
    trains: Collection[str] | Mapping[str, ParameterKind],
    *,
    batch_norm: BatchNormMode = "train",
) -> set[str]:
    """Return the names of the parameters that `set_trainable_` would make trainable.

    Raises:
        ValueError: If ``trains`` names no group, or no parameter would train.
    """
    lookup(dict.fromkeys(get_args(BatchNormMode)), batch_norm, kind="batch_norm")
    kinds: Mapping[str, ParameterKind]
    kinds = trains if isinstance(trains, Mapping) else dict.fromkeys(trains, "all")
    trained: set[str] = set()
    for group, kind in kinds.items():
        names = set(lookup(groups, group, kind="layer group"))
        trained |= names if kind == "all" else names & parameters_of_kind(module, kind)
    if batch_norm in KEEPS_WEIGHTS:
        norms = parameters_of_modules(module, lambda member: isinstance(member, _BatchNorm))
        trained -= norms.difference(groups.get(HEAD, ()))
    for kind in sorted(set(kinds.values())):
        of_kind = [group for group, other in kinds.items() if other == kind]
        if all(trained.isdisjoint(groups[group]) for group in of_kind):
            what = "parameters" if kind == "all" else kind
            raise ValueError(
                f"No {what} would train in {', '.join(of_kind)} with batch norm {batch_norm!r}. "
                "Choose other `parameters`, or leave the groups out."
            )
    return trained


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
