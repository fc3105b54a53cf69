"""Reinitialize layer groups: the last layers of a pretrained model begin anew."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from tltool._lookup import lookup
from tltool._spec import Spec, parse_spec
from tltool.layers.initializers import INITIALIZERS, WEIGHTED, init_weights_
from tltool.surgery.activations_behind import activations_behind
from tltool.surgery.adapters import LowRankUpdate, check_adapters
from tltool.surgery.matched_norm import FixedAffine, MatchedNorm
from tltool.surgery.module_replacement import shortened
from tltool.surgery.norm_kinds import holds_norm

log = logging.getLogger(__name__)

LayerGroups = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Reinitialization:
    """Which layer groups have begun anew, and how."""

    groups: tuple[str, ...]
    num_groups: int
    #: The name of the initializer; ``None`` for the model's own.
    init: str | None
    #: Dotted names of the modules whose parameters are new.
    changed: tuple[str, ...]
    #: Number of parameters that are new.
    num_parameters: int

    #: What is wrong with the features until the groups have trained.
    damage: ClassVar[str] = "random"

    def __str__(self) -> str:
        return (
            f"Reinitialized {len(self.groups)} of {self.num_groups} layer groups "
            f"({shortened(self.groups, 3)}; {self.num_parameters:,} parameters) by "
            f"{self.init or 'the own initialization of the model'}."
        )


def reinitialize(
    model: nn.Module,
    groups: int | str | Sequence[int | str],
    *,
    init: Spec | None = None,
    layer_groups: Callable[[], LayerGroups] | None = None,
    new_model: Callable[[], nn.Module] | None = None,
) -> Reinitialization:
    """Draw the weights of whole layer groups anew, in place.

    The last layers of a pretrained model fit its own classes most; to begin them anew can steady
    fine-tuning on few examples (Zhang et al., 2020, https://arxiv.org/abs/2006.05987).
    Norms begin as the identity, their running statistics too. What another edit has added, such as
    slopes of prelu, stays as it is.

    Weights are drawn from torch's random numbers: the same seed gives the same weights.

    Args:
        model: Is changed.
        groups: Layer groups by name, or by index from the input on: -1 is the last.
        init: How linear layers and convolutions begin: an initializer as in ``init_weights_``, with
            the gain of the activation behind each; biases are zero. ``None`` for the model's own
            initialization, which all other parameters have in any case.
        layer_groups: Returns parameter names by layer group. In a `Backbone` it is there already.
        new_model: Makes such a model without edits and pretrained weights. In a `Backbone` it is
            there already.

    Raises:
        ValueError: If there is no such group or initializer, nothing to initialize, a layer has
            adapters already, norms of a group are replaced, removed or folded already, or one of
            the last two arguments is missing.
        TypeError: If a group is neither a name nor a number.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> print(
        ...     reinitialize(
        ...         model,
        ...         [-1],
        ...         init="kaiming_normal",
        ...         layer_groups=lambda: {"0": ["0.weight", "0.bias"], "2": ["2.weight", "2.bias"]},
        ...         new_model=lambda: nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)),
        ...     )
        ... )
        Reinitialized 1 of 2 layer groups (2; 5 parameters) by kaiming_normal.
    """
    if layer_groups is None or new_model is None:
        raise ValueError(
            "reinitialize must know the layer groups of the model and how it begins, as a Backbone "
            "does. Use Backbone(name, surgery=[{'reinitialize': ...}]), or its `edit_`."
        )
    by_group = layer_groups()
    names = _names(groups, by_group, type(model).__name__)
    parameters = {parameter for name in names for parameter in by_group[name]}
    owners = {parameter.rpartition(".")[0] for parameter in parameters}
    modules = {owner: model.get_submodule(owner) for owner in sorted(owners)}
    check_adapters([n for n, m in modules.items() if isinstance(m, LowRankUpdate)], "reinitialize")
    _check_norms(model, parameters)
    drawn = {owner: module for owner, module in modules.items() if isinstance(module, WEIGHTED)}
    kind = None if init is None else parse_spec(init, kind="init")[0]
    if kind is not None:
        lookup(INITIALIZERS, kind, kind="initializer")
        if not drawn:
            raise ValueError(
                f"{', '.join(names)} holds no linear layer or convolution for {kind} to "
                "initialize. Leave `init` out, or choose other groups."
            )
    for name, module in drawn.items():
        if holds_norm(module):
            _refuse(name, "fold_norms")
    new = _begin_as(new_model().state_dict(), model, parameters, owners)
    behind = activations_behind(model)
    for module in drawn.values() if init is not None else ():
        init_weights_(module, init or "auto", activation=behind[module])
    changed = tuple(owner for owner in modules if any(n.rpartition(".")[0] == owner for n in new))
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    num_parameters = sum(sizes.get(name, 0) for name in new)
    report = Reinitialization(names, len(by_group), kind, changed, num_parameters)
    log.info("%s", report)
    return report


def _names(
    groups: int | str | Sequence[int | str], by_group: LayerGroups, model: str
) -> tuple[str, ...]:
    """Return the names of the chosen groups, each once, from the input on."""
    chosen = [groups] if isinstance(groups, int | str) else list(groups)
    if not chosen or not by_group:
        has = shortened(list(by_group), 20)
        raise ValueError(
            f"`groups` of reinitialize names nothing to initialize, got {groups!r}. Name layer "
            f"groups of {model}, or count from the end, as in [-1]; it has: {has}."
        )
    known, found = list(by_group), set()
    for group in chosen:
        if isinstance(group, str):
            name = group.removeprefix("backbone.")  # as in a schedule
            lookup(by_group, name, kind="layer group")
        elif isinstance(group, int) and -len(known) <= group < len(known):
            name = known[group]
        elif isinstance(group, int):
            raise ValueError(
                f"`groups` of reinitialize counts from 0 to {len(known) - 1}, or back from -1 to "
                f"-{len(known)}; got {group}. {model} has: {shortened(known, 20)}."
            )
        else:
            raise TypeError(
                f"`groups` of reinitialize takes names and numbers of layer groups; got {group!r}, "
                f"a {type(group).__name__}."
            )
        found.add(name)
    return tuple(name for name in known if name in found)


def _check_norms(model: nn.Module, parameters: Collection[str]) -> None:
    """Refuse groups with norms in whose place another edit has put what is matched to them."""
    names = [name for name, _ in model.named_parameters()]
    is_last_chosen = False  # whether the parameter in front is
    for name, module in model.named_modules():
        if isinstance(module, MatchedNorm | FixedAffine):
            # A fixed scale and shift has no parameters of its own, which lie in a layer group.
            parent = name if isinstance(module, MatchedNorm) else name.rpartition(".")[0]
            inside = {each in parameters for each in names if each.startswith(f"{parent}.")}
            if inside.pop() if len(inside) == 1 else is_last_chosen:
                edit = "replace_norms" if isinstance(module, MatchedNorm) else "remove_norms"
                _refuse(name, edit)
        for key, _ in module.named_parameters(recurse=False):
            is_last_chosen = f"{name}.{key}".removeprefix(".") in parameters


def _refuse(name: str, edit: str) -> None:
    raise ValueError(
        f"{name} keeps what `{edit}` took from the norm that was there, which does not fit new "
        f"weights. Put `reinitialize` in front of `{edit}`."
    )


@torch.no_grad()
def _begin_as(
    new: Mapping[str, torch.Tensor], model: nn.Module, parameters: set[str], owners: set[str]
) -> list[str]:
    """Copy what a new model begins with: some parameters, and buffers beside them.

    Returns:
        The names of what was copied. A parameter that another edit has added is not in a new model.
    """
    of_others = {name for name, _ in model.named_parameters()} - parameters
    copied = []
    for name, tensor in model.state_dict().items():
        is_chosen = name.rpartition(".")[0] in owners and name not in of_others
        if is_chosen and name in new and new[name].shape == tensor.shape:
            tensor.copy_(new[name])
            copied.append(name)
    return copied
