"""How a task was made, as plain data in its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn


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
