"""Training of a task in one phase outside of a Trainer: what trains, learning rates, loss."""

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from tltool.finetuning.freeze import set_trainable_
from tltool.finetuning.param_groups import lr_groups, split_by_layer_
from tltool.finetuning.phase import Phase
from tltool.models.layer_groups import layer_groups, layers

M = TypeVar("M", bound=nn.Module)


def enter_phase_(task: M, phase: Phase) -> M:
    """Make trainable what a phase trains and freeze the rest, in place.

    Args:
        task: A module with a ``backbone`` and a ``head``.
        phase: Resolved.

    Returns:
        ``task``.
    """
    kinds = {group: phase.group_parameters(group) for group in phase.groups}
    return set_trainable_(task, layer_groups(task), kinds, batch_norm=phase.batch_norm)


def scale_lrs_(optimizer: Optimizer, task: nn.Module, phase: Phase) -> Optimizer:
    """Multiply the learning rates of a new optimizer as a phase does, in place.

    Args:
        optimizer: Holds all parameters of the task, and has made no step.
        task: The model.
        phase: Resolved; its warmup and decay are left out.

    Returns:
        ``optimizer``; of a phase with layer-wise decay it has a parameter group for each layer.
    """
    fine = layers(task) if phase.layer_decay < 1 else {}
    if fine:
        split_by_layer_(optimizer, task, fine)
    places = lr_groups(optimizer, task, layer_groups(task), fine)
    for place, group in zip(places, optimizer.param_groups, strict=True):
        group["lr"] *= phase.group_lr_scale(place.group, place.depth)
    return optimizer


def batch_loss(task: Any, batch: Mapping[str, Any]) -> Tensor:
    """Return the training loss of a task on a batch of ``images`` and ``labels``."""
    logits = task(batch["images"].to(task.device))
    loss: Tensor = task.training_loss(logits, batch["labels"].to(task.device))
    return loss
