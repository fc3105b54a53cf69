"""Layer groups of timm's models, as timm's ``group_matcher`` says."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import SimpleNamespace
from typing import Any, cast

import timm.models
from torch import nn

from tltool.models.layer_groups import name_groups
from tltool.models.timm_models import classifier_names

#: Models whose matcher refuses coarse groups, and whose others are as few.
_FINE_ONLY = {"RDNet"}
# Stands for a parameter that no pattern of a matcher matches.
_UNMATCHED = "?"


def unusual_groups(model: nn.Module) -> str | None:
    """Return what a model lacks for groups of whole stages by timm's patterns, if so, in words."""
    if not hasattr(model, "group_matcher"):
        return "group matcher: its layer groups are its top-level layers"
    if type(model).__name__ in _FINE_ONLY:
        return "coarse layer groups in timm: its fine ones are its groups"
    return None


def layer_groups_of(
    model: nn.Module, *, coarse: bool, own: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Return parameter names by layer group, from the input on, as timm's ``group_matcher`` says.

    A model without a matcher gets one group for each top-level child, and for each part of one that
    is a list of stages; its own parameters are in the first one.

    Args:
        model: The model.
        coarse: Whole stages, or the layers inside them.
        own: Names of the parameters that the model had before surgery, in their order; ``None`` for
            those that it has. Groups keep the names that they had with them. What surgery brought
            in, timm does not know: it belongs to the group of the module that it is in, or else of
            the parameter in front of it.
    """
    current = [parameter for parameter, _ in model.named_parameters()]
    groups = _match_groups(model, current if own is None else own, coarse=coarse)
    group_of = {parameter: group for group, names in groups.items() for parameter in names}
    group_of_module = _groups_of_modules(group_of)
    last = next(iter(groups), "")
    placed: dict[str, list[str]] = {group: [] for group in groups}
    for parameter in current:
        around = (group_of_module.get(path) for path in _paths(parameter))
        last = group_of.get(parameter) or next(filter(None, around), last)
        placed[last].append(parameter)
    return {group: names for group, names in placed.items() if names}


def _match_groups(model: nn.Module, own: Sequence[str], *, coarse: bool) -> dict[str, list[str]]:
    if hasattr(model, "group_matcher"):
        is_coarse = coarse and type(model).__name__ not in _FINE_ONLY
        matcher = cast(Any, model).group_matcher(coarse=is_coarse)
        # timm numbers layers with the classifier among them, so its names must be there.
        classifier = [] if coarse else classifier_names(model)
        named = [(key, None) for key in (*own, *classifier, _UNMATCHED)]
        holder = SimpleNamespace(named_parameters=lambda: named)
        numbered = list(timm.models.group_parameters(cast(Any, holder), matcher).values())
        return name_groups(dict(enumerate(_in_place(numbered, own))), classifier)
    depths = {name: 1 + _is_list_of_stages(child) for name, child in model.named_children()}
    group_of = {
        parameter: ".".join(parameter.split(".")[: depths[parameter.partition(".")[0]]])
        for parameter in own
        if "." in parameter
    }
    groups: dict[str, list[str]] = {}
    for parameter in own:
        group = group_of.get(parameter) or next(iter(group_of.values()), "")
        groups.setdefault(group, []).append(parameter)
    return name_groups(groups)


def _is_list_of_stages(module: nn.Module) -> bool:
    """Tell whether a module is a list whose parts, but for those without parameters, have parts."""
    if not isinstance(module, nn.Sequential | nn.ModuleList):
        return False
    parts = [part for part in module if next(part.parameters(), None) is not None]
    return all(list(part.children()) for part in parts)


def _in_place(groups: Sequence[Sequence[str]], own: Sequence[str]) -> list[list[str]]:
    """Return groups in which modules that no pattern of timm matches are where they are defined.

    timm counts what it does not match to the end, as a norm behind the pooling is. A position
    embedding that all blocks read is none of it: it belongs to the parameter in front of it.
    Parameters of the network itself stay, for their place says nothing.

    Args:
        groups: Parameter names from the input on, with `_UNMATCHED` among them.
        own: All names in the order of the network.
    """
    group_of = {name: number for number, names in enumerate(groups) for name in names}
    end = group_of.pop(_UNMATCHED)
    matched = [place for place, name in enumerate(own) if group_of[name] != end]
    front = 0
    for name in own[: max(matched, default=0)]:
        if group_of[name] != end:
            front = group_of[name]
        elif "." in name:
            group_of[name] = front
    placed: list[list[str]] = [[] for _ in groups]
    for name, number in group_of.items():
        placed[number].append(name)
    return [names for names in placed if names]


def _groups_of_modules(group_of: Mapping[str, str]) -> dict[str, str]:
    """Return the group of each module that has all its parameters in one."""
    groups: dict[str, set[str]] = {}
    for parameter, group in group_of.items():
        for path in _paths(parameter):
            groups.setdefault(path, set()).add(group)
    return {path: next(iter(names)) for path, names in groups.items() if len(names) == 1}


def _paths(parameter: str) -> list[str]:
    """Return the dotted names of the modules that a parameter is in, the innermost first."""
    return list(accumulate(parameter.split(".")[:-1], "{}.{}".format))[::-1]
