"""Layer groups: which parameters belong together, by name, from the input side to the head."""

import inspect
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any

from torch import nn


def layer_groups(model: nn.Module) -> dict[str, list[str]]:
    """Return the parameter names of a model's layer groups.

    Groups hold names of parameters and not modules, because modules nest: the root of a vision
    transformer owns its position embedding.

    Args:
        model: A module with a ``backbone`` (whose ``layer_groups()`` maps a name to parameter names
            relative to the backbone) and a ``head``.

    Returns:
        ``{"backbone.<group>": [...], ..., "head": [...]}``, names relative to ``model``. Each
        parameter is in exactly one group; a shared one counts by its first name.

    Raises:
        ValueError: If a parameter is in no group or in two.
    """
    backbone: Any = model.get_submodule("backbone")
    return _with_head(model, backbone.layer_groups())


def layers(model: nn.Module) -> dict[str, list[str]]:
    """Return the parameter names of a model's layers: finer than groups, for layer-wise decay.

    Args:
        model: As in `layer_groups`. The backbone's ``layer_groups(coarse=False)`` gives its layers;
            parameters in the layer of the classifier that the backbone was pretrained with, such as
            a norm behind the pooling, are under ``head`` there. Without such an argument, groups
            are layers.

    Returns:
        ``{"backbone.<layer>": [...], ..., "head": [...]}``, from the input on; a partition.

    Raises:
        ValueError: If a parameter is in no layer or in two.
    """
    backbone: Any = model.get_submodule("backbone")
    if "coarse" not in inspect.signature(backbone.layer_groups).parameters:
        return layer_groups(model)
    by_layer: dict[str, Sequence[str]] = dict(backbone.layer_groups(coarse=False))
    beside_classifier = by_layer.pop("head", ())
    return _with_head(model, by_layer, beside_classifier)


def _with_head(
    model: nn.Module, of_backbone: Mapping[str, Sequence[str]], of_head: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return a backbone's groups and the head, to which some parameters of the backbone go too."""
    groups = {
        f"backbone.{group}": [f"backbone.{name}" for name in names]
        for group, names in of_backbone.items()
    }
    own = [name for name, _ in model.named_parameters()]
    groups["head"] = [f"backbone.{name}" for name in of_head]
    groups["head"] += [name for name in own if name.startswith("head.")]
    check_partition(groups, own)
    return {group: names for group, names in groups.items() if names}


def check_partition(groups: Mapping[str, Sequence[str]], parameter_names: Sequence[str]) -> None:
    """Check that each parameter is in exactly one group.

    Raises:
        ValueError: If not; the message names the parameter.

    Example:
        >>> check_partition({"head": ["fc.weight"]}, ["fc.weight", "scale"])
        Traceback (most recent call last):
        ...
        ValueError: Parameter 'scale' is in no layer group. ...
    """
    count = Counter(name for names in groups.values() for name in names)
    known = set(parameter_names)
    for name in parameter_names:
        if count[name] == 0:
            remedy = "Put it inside the backbone or the head, so that a phase can train it."
            if "_orig_mod." in name:
                remedy = "Compile in place, by `module.compile()`, which keeps the names."
            raise ValueError(f"Parameter {name!r} is in no layer group. {remedy}")
    for name, times in count.items():
        if name not in known:
            raise ValueError(
                f"Layer groups hold {name!r}, which is no parameter of the model. Make "
                "`layer_groups()` return names as in `named_parameters()`."
            )
        if times > 1:
            holders = [group for group, names in groups.items() if name in names]
            raise ValueError(
                f"Parameter {name!r} is in more than one layer group: {', '.join(holders)}. Remove "
                "it from all but one."
            )


def name_groups(
    groups: Mapping[Any, Sequence[str]], classifier: Collection[str] = ()
) -> dict[str, list[str]]:
    """Give numbered groups of parameters the names of the modules that they belong to.

    A group is named after the shortest module path that it has for itself (``layer1``,
    ``blocks.3``, ``stages.0``). A first group of several modules is the ``stem``; a later one is
    named after its largest part, as ``blocks.11`` for the last block of a vision transformer
    together with the norm behind it.

    Args:
        groups: Parameter names by any key, in order from the input on, as timm's
            ``group_parameters`` returns them.

        classifier: Names of parameters of the classifier, if ``groups`` holds them: they are left
            out, and what is in a group with them is the group ``head``.

    Example:
        >>> vit = [["cls_token", "embed.weight"], ["blocks.0.weight"], ["blocks.1.weight", "norm"]]
        >>> list(name_groups(dict(enumerate(vit))))
        ['stem', 'blocks.0', 'blocks.1']
    """
    with_head = next((names for names in groups.values() if set(classifier) & set(names)), ())
    ordered = [list(names) for names in groups.values() if names and names is not with_head]
    named: dict[str, list[str]] = {}
    for index, names in enumerate(ordered):
        others = [name for other in ordered if other is not names for name in other]
        name = _name_group(names, others, first=index == 0)
        number = 2
        while name in named:
            name = f"{name.removesuffix(f'_{number - 1}')}_{number}"
            number += 1
        named[name] = names
    beside_classifier = [name for name in with_head if name not in classifier]
    return named | {"head": beside_classifier} if beside_classifier else named


def _name_group(names: Sequence[str], others: Sequence[str], *, first: bool) -> str:
    top_level = Counter(name.partition(".")[0] for name in names)
    if first and len(top_level) > 1:
        return "stem"
    largest = top_level.most_common(1)[0][0]
    paths = [_module_path(name) for name in names if name.partition(".")[0] == largest]
    shared = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    common = [parts[0] for parts in shared]
    # "head" would read like the task's own head.
    candidates = [common[:n] for n in range(1, len(common) + 1) if common[:n] != ["head"]]
    taken = [_module_path(name) for name in others]
    free = (path for path in candidates if not any(other[: len(path)] == path for other in taken))
    return ".".join(next(free, common))


def _module_path(parameter_name: str) -> list[str]:
    """Return the module that owns a parameter; for the root's own parameters, their name."""
    parts = parameter_name.split(".")
    return parts[:-1] or parts
