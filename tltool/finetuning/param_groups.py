"""Parameter groups of the optimizer: named, and without weight decay where it does harm."""

from collections.abc import Collection
from typing import Any

from torch import nn

from tltool.finetuning.groups import layer_groups

NO_DECAY = "/no_decay"


def param_groups(
    task: nn.Module, weight_decay: float, no_weight_decay: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups: one or two for each layer group.

    All parameters are in from the start, also those that are frozen at first: these have no
    gradient, so optimizers skip them, and no group must be added later. Biases, norms and learned
    slopes (fewer than two dimensions) get no weight decay (He et al., 2019, section 3.1,
    https://arxiv.org/abs/1812.01187).

    Args:
        task: A module with a ``backbone`` and a ``head``.
        weight_decay: Weight decay of all other parameters.
        no_weight_decay: Names of further parameters without weight decay, in full or from a dot on:
            ``pos_embed`` is also ``backbone.model.pos_embed``.

    Returns:
        Groups named after the layer group, as ``head`` and ``head/no_decay``; every parameter is in
        exactly one, and none is empty.

    Example:
        >>> from tltool.finetuning.groups import layer_groups
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
        for name, members, decay in (
            (group, kept, weight_decay),
            (group + NO_DECAY, excluded, 0.0),
        ):
            if members:
                params = [parameters[member] for member in members]
                result.append({"params": params, "name": name, "weight_decay": decay})
    return result


def _is_excluded(name: str, parameter: nn.Parameter, no_weight_decay: Collection[str]) -> bool:
    if parameter.ndim < 2 or name.endswith(".bias"):
        return True
    return any(name == other or name.endswith(f".{other}") for other in no_weight_decay)
