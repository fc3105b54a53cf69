"""Parameter groups of the optimizer: named, and without weight decay where it does harm."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn
from torch.optim import Optimizer

from tltool.models.layer_groups import layer_groups

NO_DECAY = "/no_decay"


def param_groups(
    task: nn.Module, weight_decay: float | None, no_weight_decay: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups: one or two for each layer group.

    All parameters are in from the start, also those that are frozen at first: these have no
    gradient, so optimizers skip them, and no group must be added later. Biases, norms and learned
    slopes (fewer than two dimensions) get no weight decay (He et al., 2019, section 3.1,
    https://arxiv.org/abs/1812.01187).

    Args:
        task: A module with a ``backbone`` and a ``head``.
        weight_decay: Weight decay of all other parameters; ``None`` for the optimizer's own.
        no_weight_decay: Names of further parameters without weight decay, in full or from a dot on:
            ``pos_embed`` is also ``backbone.model.pos_embed``.

    Returns:
        Groups named after the layer group, as ``head`` and ``head/no_decay``; every parameter is in
        exactly one, and none is empty.

    Example:
        >>> from tltool.models.layer_groups import layer_groups
        >>> class Backbone(nn.Linear):
        ...     def layer_groups(self): return {"stem": ["weight", "bias"]}
        >>> task = nn.ModuleDict({"backbone": Backbone(3, 2), "head": nn.Linear(2, 1)})
        >>> [(g["name"], g["weight_decay"]) for g in param_groups(task, 0.1)]
        [('backbone.stem', 0.1), ('backbone.stem/no_decay', 0.0), ('head', 0.1), ('head/no_decay',
        0.0)]
    """
    parameters = dict(task.named_parameters())
    result: list[dict[str, Any]] = []
    for group, names in layer_groups(task).items():
        excluded = [name for name in names if _is_excluded(name, parameters[name], no_weight_decay)]
        kept = [name for name in names if name not in excluded]
        decay = {} if weight_decay is None else {"weight_decay": weight_decay}
        parts = [(group, kept, decay), (group + NO_DECAY, excluded, {"weight_decay": 0.0})]
        for name, members, own in parts:
            if members:
                params = [parameters[member] for member in members]
                result.append({"params": params, "name": name, **own})
    return result


def _is_excluded(name: str, parameter: nn.Parameter, no_weight_decay: Collection[str]) -> bool:
    if parameter.ndim < 2 or name.endswith(".bias"):
        return True
    return any(name == other or name.endswith(f".{other}") for other in no_weight_decay)


def split_by_layer_(
    optimizer: Optimizer, module: nn.Module, layers: Mapping[str, Sequence[str]]
) -> Optimizer:
    """Split parameter groups that reach over several layers, in place, for an lr in each layer.

    Done before the first step and before a checkpoint is loaded, so groups never change during a
    run. A new group is named after its layer, as ``backbone.layer1.0/no_decay``.

    Args:
        optimizer: An optimizer that has made no step.
        module: The model that the parameters belong to.
        layers: Parameter names by layer, as `layers` returns them.

    Returns:
        ``optimizer``.
    """
    layer_of = _holders(module, layers)
    split: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        parts: dict[str, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            parts.setdefault(layer_of[parameter], []).append(parameter)
        for layer, params in parts.items():
            part = {**group, "params": params}
            if len(parts) > 1 and "name" in group:
                part["name"] = _part_name(group["name"], layer)
            split.append(part)
    optimizer.param_groups[:] = split
    return optimizer


class LRGroup(NamedTuple):
    """Where a parameter group of the optimizer lies in the model.

    Args:
        group: Its layer group.
        depth: Number of layers between it and the head; 0 where layers make no difference.
        label: Its name in logs.
    """

    group: str
    depth: int
    label: str


def lr_groups(
    optimizer: Optimizer,
    module: nn.Module,
    groups: Mapping[str, Sequence[str]],
    layers: Mapping[str, Sequence[str]],
) -> list[LRGroup]:
    """Return where each parameter group of an optimizer lies.

    Args:
        optimizer: Holds all parameters of the model.
        module: The model.
        groups: Parameter names by layer group.
        layers: Parameter names by layer, or empty where layers make no difference.

    Raises:
        ValueError: If the optimizer lacks a parameter, or one of its groups lies in two layer
            groups.
    """
    held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    missing = [name for name, parameter in module.named_parameters() if parameter not in held]
    if missing:
        raise ValueError(
            f"The optimizer lacks {len(missing)} parameters, among them {missing[0]!r}. Give it "
            "all of them, frozen ones too, for example by `param_groups(self, weight_decay)`."
        )
    group_of, layer_of = _holders(module, groups), _holders(module, layers)
    depths = {layer: depth for depth, layer in enumerate(reversed([*layers]))}
    result = []
    for number, param_group in enumerate(optimizer.param_groups):
        params = param_group["params"]
        owners = {group_of[parameter] for parameter in params if parameter in group_of}
        if len(owners) != 1:
            raise ValueError(
                f"Parameter group {number} of the optimizer holds "
                f"{', '.join(sorted(owners)) or 'no layer group'}, but each needs a learning rate "
                "of its own. Make the groups by `param_groups(self, weight_decay)`."
            )
        group = owners.pop()
        label = str(param_group.get("name", group)).removesuffix(NO_DECAY)
        depth = depths[layer_of[params[0]]] if layers else 0
        result.append(LRGroup(group, depth, label))
    return result


def _holders(module: nn.Module, groups: Mapping[str, Sequence[str]]) -> dict[nn.Parameter, str]:
    """Return the group of each parameter; by identity, which is how tensors are hashed."""
    parameters = dict(module.named_parameters())
    return {parameters[name]: group for group, names in groups.items() for name in names}


def _part_name(name: str, layer: str) -> str:
    group, mark, rest = name.partition(NO_DECAY)
    return (layer if layer.startswith(f"{group}.") else f"{group}:{layer}") + mark + rest
