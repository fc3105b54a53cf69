"""Training of a task in one phase outside of a Trainer: what trains, learning rates, steps."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from tltool.finetuning.freeze import set_trainable_
from tltool.finetuning.param_groups import lr_groups, split_by_layer_
from tltool.finetuning.phase import Phase
from tltool.models.layer_groups import layer_groups, layers

M = TypeVar("M", bound=nn.Module)


def copy_in_phase(task: M, phase: Phase) -> M:
    """Return a copy of a task in which what a phase trains is trainable and the rest is frozen.

    Args:
        task: A module with a ``backbone`` and a ``head``.
        phase: Resolved.
    """
    kinds = {group: phase.group_parameters(group) for group in phase.groups}
    task = copy.deepcopy(task)
    return set_trainable_(task, layer_groups(task), kinds, batch_norm=phase.batch_norm)


def phase_optimizer(task: Any, phase: Phase) -> Optimizer:
    """Return a new optimizer of a task, at the full learning rates of a phase.

    Args:
        task: Has ``configure_optimizers()``.
        phase: Resolved; its warmup and decay are left out.

    Returns:
        It holds all parameters; of a phase with layer-wise decay, each layer has a group.
    """
    optimizer: Optimizer = task.configure_optimizers()
    fine = layers(task) if phase.layer_decay < 1 else {}
    if fine:
        split_by_layer_(optimizer, task, fine)
    places = lr_groups(optimizer, task, layer_groups(task), fine)
    for place, group in zip(places, optimizer.param_groups, strict=True):
        group["lr"] *= phase.group_lr_scale(place.group, place.depth)
    return optimizer


def train_steps(
    task: Any, optimizer: Optimizer, batches: Iterable[Mapping[str, Any]]
) -> Iterator[float]:
    """Yield the loss on each batch, before the step that it makes.

    A batch has ``labels``, and ``images`` or, where the head alone trains, ``features``.
    Gradients are there when a loss is yielded; the step follows when the next one is asked for.
    """
    for batch in batches:
        optimizer.zero_grad()
        with torch.enable_grad():
            inputs = {name: batch[name] for name in ("images", "features") if name in batch}
            logits = task.logits({name: each.to(task.device) for name, each in inputs.items()})
            loss = task.training_loss(logits, batch["labels"].to(task.device))
            if loss.requires_grad:  # Else nothing that trains is on the way to it.
                loss.backward()
        yield float(loss.detach())
        optimizer.step()
