"""How a task was made, as plain data in its checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

import tltool
from tltool.models.backbone import Backbone
from tltool.models.description import plain, rebuild


def describe_task(
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
        "backbone": description_of(backbone, "backbone"),
        "head": description_of(head, "head"),
        "num_classes": len(class_names),
        "class_names": list(class_names),
        "data_config": plain(data_config, "data_config"),
        "label_smoothing": label_smoothing,
        "class_weights": None if class_weights is None else class_weights.tolist(),
    }


def task_arguments(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the task that `describe_task` described; its weights come after."""
    # The weights follow in the state dict; `random` keeps them from being looked for.
    backbone = rebuild(recipe["backbone"], weights="random", allow_partial=[])
    assert isinstance(backbone, Backbone)  # noqa: S101  # the recipe was written from one
    names = ("num_classes", "class_names", "data_config", "label_smoothing", "class_weights")
    return {
        "backbone": backbone,
        "head": lambda num_features, num_classes: rebuild(recipe["head"]),
        **{name: recipe[name] for name in names},
    }


def description_of(module: nn.Module, part: str) -> dict[str, Any]:
    """Return how a module was made.

    Raises:
        TypeError: If the module cannot say it.
    """
    description = getattr(module, "description", None)
    if not isinstance(description, dict):
        raise TypeError(
            f"The {part} {type(module).__name__} cannot say how it was made, so a checkpoint could "
            "not rebuild it. Decorate its class with tltool.models.described."
        )
    return description


def read_checkpoint(checkpoint_path: str | Path | IO[bytes]) -> dict[str, Any]:
    """Read a checkpoint of tltool, unpickling nothing but tensors and plain data.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint of tltool.
    """
    if isinstance(checkpoint_path, str | Path) and not Path(checkpoint_path).is_file():
        raise FileNotFoundError(
            f"There is no checkpoint {str(checkpoint_path)!r}. Name a file, for example "
            "runs/photos/0/checkpoints/best.ckpt."
        )
    checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
    if not (isinstance(checkpoint, Mapping) and "recipe" in checkpoint):
        raise ValueError(
            f"{checkpoint_path} is no checkpoint of tltool: it does not say how to rebuild the "
            "model. To start from its weights, train with `model.backbone.weights` "
            "set to this file."
        )
    return dict(checkpoint)
