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
    """Return the arguments of the task of a `task_config`; its weights come after.

    Raises:
        ValueError: If the configuration does not say how to make them.
    """
    missing = [key for key in ("backbone", "head") if not isinstance(config.get(key), Mapping)]
    if missing:
        raise ValueError(
            f"The checkpoint does not say how to make its {' and '.join(missing)}: tltool "
            f"{config.get('tltool', 'of an unknown version')} wrote it, and this is "
            f"{tltool.__version__}. Load it with that version, or start from its weights: set "
            "`model.backbone.weights` to this file."
        )
    arguments = {name: value for name, value in config.items() if name != "tltool"}
    return arguments | {
        # The weights follow in the state dict; `random` keeps them from being looked for.
        "backbone": rebuild(config["backbone"], weights="random", allow_partial=[]),
        "head": lambda num_features, num_classes: rebuild(config["head"]),
    }


def load_state_(task: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Load the weights of a checkpoint into its task, all of them.

    Raises:
        ValueError: If they do not fit, as after a change of the code of an own head.
    """
    try:
        task.load_state_dict(state_dict)
    except RuntimeError as error:
        own = task.state_dict()
        wrong = [
            key for key in {**own, **state_dict} if not _fits(own.get(key), state_dict.get(key))
        ]
        raise ValueError(
            "The weights in the checkpoint do not fit the model that it describes: "
            f"{', '.join(wrong[:3]) or error} ({len(wrong)}). Load it with the code that it was "
            "trained with."
        ) from error


def _fits(own: Any, stored: Any) -> bool:
    return own is not None and stored is not None and own.shape == stored.shape


def _description(module: nn.Module, role: str) -> dict[str, Any]:
    description = getattr(module, "description", None)
    if not isinstance(description, dict):
        raise TypeError(
            f"The {role} {type(module).__name__} cannot say how it was made, so a checkpoint could "
            "not rebuild it. Pass its class, or a partial of it, or "
            "decorate the class with tltool.serializable."
        )
    return description
