"""Serialization of a task: how it was made, as plain data in its checkpoint."""

from collections.abc import Mapping
from typing import Any

from torch import nn

import tltool
from tltool.models.serialization import plain, rebuild


def task_config(backbone: nn.Module, head: nn.Module, **arguments: Any) -> dict[str, Any]:
    """Return plain data from which `task_arguments` makes the same task.

    Args:
        backbone: The backbone.
        head: The head.
        **arguments: The other arguments of the task.

    Raises:
        TypeError: If the backbone or the head cannot say how it was made.
    """
    return {
        "tltool": tltool.__version__,
        "backbone": _description(backbone, "backbone"),
        "head": _description(head, "head"),
        **plain(arguments, "ImageTask"),
    }


def task_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the task of a `task_config`; its weights come after."""
    arguments = {name: value for name, value in config.items() if name != "tltool"}
    return arguments | {
        # The weights follow in the state dict; `random` keeps them from being looked for.
        "backbone": rebuild(config["backbone"], weights="random", allow_partial=[]),
        "head": lambda num_features, num_classes: rebuild(config["head"]),
    }


def _description(module: nn.Module, role: str) -> dict[str, Any]:
    description = getattr(module, "description", None)
    if not isinstance(description, dict):
        raise TypeError(
            f"The {role} {type(module).__name__} cannot say how it was made, so a checkpoint could "
            "not rebuild it. Pass its class, or a partial of it, or "
            "decorate the class with tltool.serializable."
        )
    return description
