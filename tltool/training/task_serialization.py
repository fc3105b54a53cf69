"""Serialization of a task: how it was made, as plain data in its checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

import tltool
from tltool.models.backbone import Backbone
from tltool.models.serialization import plain, rebuild


def task_config(
    backbone: nn.Module,
    head: nn.Module,
    *,
    class_names: Sequence[str],
    data_config: Mapping[str, Any],
    label_smoothing: float,
    class_weights: Tensor | None,
) -> dict[str, Any]:
    """Return plain data from which `task_arguments` makes the same task; see `ImageTask`.

    Raises:
        TypeError: If the backbone or the head cannot say how it was made.
    """
    return {
        "tltool": tltool.__version__,
        "backbone": module_config(backbone, "backbone"),
        "head": module_config(head, "head"),
        "num_classes": len(class_names),
        "class_names": list(class_names),
        "data_config": plain(data_config, "data_config"),
        "label_smoothing": label_smoothing,
        "class_weights": None if class_weights is None else class_weights.tolist(),
    }


def task_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the task of a `task_config`; its weights come after."""
    # The weights follow in the state dict; `random` keeps them from being looked for.
    backbone = rebuild(config["backbone"], weights="random", allow_partial=[])
    assert isinstance(backbone, Backbone)  # noqa: S101  # the config was written from one
    names = ("num_classes", "class_names", "data_config", "label_smoothing", "class_weights")
    return {
        "backbone": backbone,
        "head": lambda num_features, num_classes: rebuild(config["head"]),
        **{name: config[name] for name in names},
    }


def module_config(module: nn.Module, role: str) -> dict[str, Any]:
    """Return how a module was made.

    Raises:
        TypeError: If the module cannot say it.
    """
    description = getattr(module, "description", None)
    if not isinstance(description, dict):
        raise TypeError(
            f"The {role} {type(module).__name__} cannot say how it was made, so a checkpoint could "
            "not rebuild it. Pass its class, or a partial of it, or "
            "decorate the class with tltool.serializable."
        )
    return description
