"""Fit the input norm in front of a head to the training features."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.features.extraction import extract_features
from tltool.layers.fitted_norms import FittedNorm


def fit_input_norm_(
    task: LightningModule, data: Any, *, read: Callable[[], Tensor] | None = None
) -> LightningModule:
    """Fit the input norm of a task's head, once, the same on every rank.

    Nothing is done where it is fitted already, or needs no fit.

    Args:
        task: A task with a ``backbone`` and a ``head``; with a Trainer, its ranks share the result.
        data: The datamodule with the training images.
        read: Returns the features of all training images, such as cached ones; every rank
            calls it. ``None`` passes the images through the backbone on the first rank.

    Returns:
        ``task``.

    Raises:
        ValueError: If it must be fitted, and ``data`` is no datamodule of tltool.
    """
    norm = getattr(task.get_submodule("head"), "input_norm", None)
    if not isinstance(norm, FittedNorm) or norm.is_fitted:
        return task
    if not isinstance(data, ImageDataModule):
        raise ValueError(
            "The head's `input_norm` must be fitted on the training features, and the Trainer "
            "has no datamodule of tltool. Call task.head.input_norm.fit_(features) first."
        )
    trainer = getattr(task, "_trainer", None)
    is_first = trainer is None or trainer.is_global_zero
    if read is not None:
        features = read()
    elif is_first:
        backbone: Any = task.get_submodule("backbone")
        loader = data.evaluation_dataloader("train")
        words = "fitting the input norm"
        features, _ = extract_features(backbone, loader, description=words, total=len(loader))
    if is_first:
        norm.fit_(features.float().to(task.device))
    if trainer is not None:
        norm.load_state_dict(trainer.strategy.broadcast(norm.state_dict()))
    return task
