"""Layer groups of timm's models, as timm's ``group_matcher`` says."""

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, cast

import timm.models
from torch import nn

from tltool.models.layer_groups import name_groups
from tltool.models.timm_models import classifier_names

#: Models whose matcher refuses coarse groups, and whose others are as few.
_FINE_ONLY = {"RDNet"}


def has_coarse_groups(model: nn.Module) -> bool:
    """Tell whether timm gives whole stages of a model as groups."""
    return type(model).__name__ not in _FINE_ONLY


def layer_groups_of(
    model: nn.Module, *, coarse: bool, added: Collection[str] = ()
) -> dict[str, list[str]]:
    """Return parameter names by layer group, from the input on, as timm's ``group_matcher`` says.

    A model without a matcher gets one group for each top-level child.

    Args:
        model: The model.
        coarse: Whole stages, or the layers inside them.
        added: Names of parameters that surgery brought in, which timm does not know. Each belongs
            to the group of the parameter in front of it.
    """
    groups = _match_groups(model, coarse=coarse, added=added)
    group_of = {parameter: group for group, names in groups.items() for parameter in names}
    last = next(iter(groups), "")
    for parameter, _ in model.named_parameters():
        if parameter in added:
            groups[last].append(parameter)
        last = group_of.get(parameter, last)
    return groups


def _match_groups(
    model: nn.Module, *, coarse: bool, added: Collection[str]
) -> dict[str, list[str]]:
    own = [(key, value) for key, value in model.named_parameters() if key not in added]
    if hasattr(model, "group_matcher"):
        is_coarse = coarse and has_coarse_groups(model)
        matcher = cast(Any, model).group_matcher(coarse=is_coarse)
        # timm numbers layers with the classifier among them, so its names must be there.
        classifier = [] if coarse else classifier_names(model)
        named = [*own, *((key, None) for key in classifier)]
        holder = SimpleNamespace(named_parameters=lambda: named)
        return name_groups(timm.models.group_parameters(cast(Any, holder), matcher), classifier)
    groups: dict[str, list[str]] = {}
    for parameter, _ in own:
        groups.setdefault(parameter.partition(".")[0], []).append(parameter)
    return name_groups(groups)
