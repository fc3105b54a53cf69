"""What a schedule will do to a model, in numbers, before anything trains."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from tltool.finetuning.freeze import trainable_names
from tltool.finetuning.param_groups import lr_groups, split_by_layer_
from tltool.finetuning.phase import Phase
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.timeline import Span, make_timeline
from tltool.models.layer_groups import layer_groups, layers

_EDGE = 64  # of the square matrix that an optimizer is tried on


@dataclass(frozen=True)
class PlannedPhase:
    """A phase in numbers.

    Attributes:
        span: The phase with its steps; "at most" these where a metric decides.
        trained: Number of trainable parameters by layer group; groups without are left out.
        lrs: Largest learning rate by parameter group, or by layer with layer-wise decay.
        memory: Bytes of gradients and optimizer state on each device.
    """

    span: Span
    trained: dict[str, int]
    lrs: dict[str, float]
    memory: int

    @property
    def phase(self) -> Phase:
        """The phase itself."""
        return self.span.phase

    def lrs_of(self, group: str) -> dict[str, float]:
        """Return those of `lrs` that are of a layer group or of parts of it."""
        parts = (f"{group}.", f"{group}:")
        return {
            label: lr for label, lr in self.lrs.items() if label == group or label.startswith(parts)
        }


@dataclass(frozen=True)
class Plan:
    """A schedule in numbers.

    Attributes:
        schedule: The resolved schedule.
        groups: Number of parameters by layer group, from the input on.
        phases: Each phase in numbers.
        steps_per_epoch: Optimizer steps in one epoch.
    """

    schedule: Schedule
    groups: dict[str, int]
    phases: tuple[PlannedPhase, ...]
    steps_per_epoch: int

    def lr(self, label: str, step: int) -> float:
        """Return the learning rate of a parameter group at a step; 0 while it is frozen."""
        planned = next((p for p in self.phases if step < p.span.end), self.phases[-1])
        phase = planned.phase
        factor = phase.lr_factor(planned.span.progress(step)) / phase.highest_factor
        return planned.lrs.get(label, 0.0) * factor


def make_plan(
    task: nn.Module,
    make_optimizer: Callable[[Any], Optimizer],
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    steps_per_epoch: int,
    max_epochs: int,
    max_steps: int | None = None,
    ended: Mapping[str, int] | None = None,
    dtype: torch.dtype = torch.float32,
    num_shards: int = 1,
) -> Plan:
    """Work out what a schedule does to a model.

    Args:
        task: A module with a ``backbone`` and a ``head``, see `layer_groups`.
        make_optimizer: Makes such an optimizer for other parameters.
        optimizer: Holds all parameters, at the base learning rates; its groups are split where the
            schedule has a learning rate for each layer.
        schedule: A resolved schedule.
        steps_per_epoch: Optimizer steps in one epoch.
        max_epochs: Length of training.
        max_steps: Training ends after so many steps, if that is earlier.
        ended: Of a run that is over, see `make_timeline`.
        dtype: Of the weights that train.
        num_shards: Devices that share gradients and optimizer state out, as with FSDP.

    Raises:
        ValueError: If the schedule does not fit the model or the training.
    """
    groups = layer_groups(task)
    sizes = {name: parameter.numel() for name, parameter in task.named_parameters()}
    fine = layers(task) if any(phase.layer_decay < 1 for phase in schedule.phases) else {}
    if fine:
        split_by_layer_(optimizer, task, fine)
    places = lr_groups(optimizer, task, groups, fine)
    bases = [group["lr"] for group in optimizer.param_groups]
    bytes_each = bytes_per_parameter(make_optimizer, dtype) / num_shards
    timeline = make_timeline(
        schedule,
        steps_per_epoch=steps_per_epoch,
        max_epochs=max_epochs,
        max_steps=max_steps,
        ended=ended,
    )
    planned = []
    for span in timeline.spans:
        phase = span.phase
        names = trained_by(phase, task, groups)
        trained = {
            group: sum(sizes[name] for name in members if name in names)
            for group, members in groups.items()
        }
        lrs = {
            place.label: base
            * phase.highest_factor
            * phase.group_lr_scale(place.group, place.depth)
            for place, base in zip(places, bases, strict=True)
            if trained[place.group]
        }
        memory = round(bytes_each * sum(trained.values()))
        planned.append(PlannedPhase(span, {g: n for g, n in trained.items() if n}, lrs, memory))
    counts = {group: sum(sizes[name] for name in names) for group, names in groups.items()}
    return Plan(schedule, counts, tuple(planned), steps_per_epoch)


def trained_by(phase: Phase, task: nn.Module, groups: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the names of the parameters that a resolved phase trains."""
    kinds = {group: phase.group_parameters(group) for group in phase.groups}
    return trainable_names(task, groups, kinds, batch_norm=phase.batch_norm)


def bytes_per_parameter(
    make_optimizer: Callable[[Any], Optimizer], dtype: torch.dtype = torch.float32
) -> float:
    """Return the memory of gradient and optimizer state for one parameter.

    Found by a step on a small matrix, so it holds for any optimizer; one whose state depends on the
    shape, such as Adafactor, may need less.

    Example:
        >>> bytes_per_parameter(lambda params: torch.optim.AdamW(params, lr=0.1)) // 1
        12.0
    """
    parameter = nn.Parameter(torch.zeros(_EDGE, _EDGE, dtype=dtype))
    parameter.grad = torch.zeros_like(parameter)
    optimizer = make_optimizer([{"params": [parameter]}])
    optimizer.step(lambda: 0.0)
    state = [value for value in optimizer.state[parameter].values() if torch.is_tensor(value)]
    tensors = [parameter.grad, *state]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / parameter.numel()
