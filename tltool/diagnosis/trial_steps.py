"""A few training steps in a phase, on a copy: what gets a gradient, what moves, what stays."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tltool.diagnosis.finding import Finding, listed
from tltool.finetuning.freeze import module_groups, set_trainable_
from tltool.finetuning.groups import layer_groups, layers
from tltool.finetuning.param_groups import rate_groups, split_by_layer_
from tltool.finetuning.phase import Phase

NUM_STEPS = 3
"""A log prior and a residual branch that starts at zero each hold gradients back for a step."""


@dataclass(frozen=True)
class TrialSteps:
    """What a few steps did.

    Attributes:
        phase: Name of the phase.
        num_steps: How many.
        trained: Layer groups that train.
        losses: The loss before each step.
        unreached: Trained parameters without a gradient, or with zeros in all steps.
        still: Trained layer groups in which nothing moved.
        leaking: Frozen parameters with a gradient.
        drifted: Frozen parameters and buffers that changed.
        num_frozen: Number of frozen parameters and buffers.
    """

    phase: str
    num_steps: int
    trained: tuple[str, ...]
    losses: list[float] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)
    leaking: list[str] = field(default_factory=list)
    drifted: list[str] = field(default_factory=list)
    num_frozen: int = 0


def try_steps(task: Any, phase: Phase, batches: Sequence[Mapping[str, Any]]) -> TrialSteps:
    """Train a copy of a task for a step on each batch, at the full rates of a phase.

    Args:
        task: A task with a ``backbone`` and a ``head``, ``configure_optimizers()`` and
            ``training_loss(logits, labels)``; it is left as it is.
        phase: What trains, resolved.
        batches: Batches with ``images`` and ``labels``.
    """
    task = copy.deepcopy(task)
    groups = layer_groups(task)
    optimizer = _optimizer(task, phase, groups)
    kinds = {group: phase.group_parameters(group) for group in phase.groups}
    set_trainable_(task, groups, kinds, batch_norm=phase.batch_norm)
    parameters = dict(task.named_parameters())
    trained = {name for name, parameter in parameters.items() if parameter.requires_grad}
    before = {name: tensor.detach().clone() for name, tensor in _tensors(task).items()}
    reached: set[str] = set()
    leaking: set[str] = set()
    losses = []
    with torch.enable_grad():
        for batch in batches:
            optimizer.zero_grad()
            labels: Tensor = batch["labels"].to(task.device)
            loss = task.training_loss(task(batch["images"].to(task.device)), labels)
            losses.append(float(loss.detach()))
            if not loss.requires_grad:  # Nothing that trains is on the way to it.
                break
            loss.backward()
            for name, parameter in parameters.items():
                if parameter.grad is not None and bool((parameter.grad != 0).any()):
                    (reached if name in trained else leaking).add(name)
            optimizer.step()
    # NaN differs from itself, and that is a change.
    changed = {name for name, tensor in _tensors(task).items() if (tensor != before[name]).any()}
    frozen = _frozen_names(task, phase, groups, trained)
    return TrialSteps(
        phase.name,
        len(batches),
        phase.groups,
        losses,
        unreached=[name for name in parameters if name in trained - reached],
        still=[group for group in phase.groups if changed.isdisjoint(trained & set(groups[group]))],
        leaking=[name for name in parameters if name in leaking],
        drifted=[name for name in before if name in changed & frozen],
        num_frozen=len(frozen),
    )


def gradient_reaches(trials: Sequence[TrialSteps], shapes: Mapping[str, torch.Size]) -> Finding:
    """Say whether a gradient reaches all that trains, and nothing that is frozen.

    Args:
        trials: One for each phase.
        shapes: Of each parameter by name: a matrix without a gradient is a failure, a bias or a
            slope may just be idle.
    """
    check = "gradients"
    for trial in trials:
        if not all(map(math.isfinite, trial.losses)):
            return Finding(
                check,
                "failed",
                f"In phase {trial.phase} the losses of the first steps are "
                f"{', '.join(f'{loss:.3g}' for loss in trial.losses)}.",
                "A lower --optimizer.lr (tltool plan --lr_range).",
            )
        if trial.leaking:
            return Finding(
                check,
                "failed",
                f"In phase {trial.phase} frozen parameters get a gradient: {listed(trial.leaking)}."
                " Something sets `requires_grad` after the phase did.",
                "Leave freezing to `finetuning`.",
            )
        matrices = [name for name in trial.unreached if len(shapes[name]) > 1]
        if trial.unreached:
            return Finding(
                check,
                "failed" if matrices else "warning",
                f"In phase {trial.phase} no gradient reaches {len(trial.unreached)} parameters "
                f"that train: {listed(matrices or trial.unreached)}.",
                "--model.head.initializer auto, an activation that is not dead at zero; or leave "
                "unused layers out of `trains`.",
            )
    groups = dict.fromkeys(group for trial in trials for group in trial.trained)
    names = ", ".join(trial.phase for trial in trials)
    return Finding(
        check, "ok", f"reach all of the {len(groups)} layer groups that train (phases: {names})"
    )


def weights_move(trials: Sequence[TrialSteps], rates: Mapping[str, float]) -> Finding:
    """Say whether each layer group that trains has moved.

    Args:
        trials: One for each phase.
        rates: The largest learning rate of each phase.
    """
    check = "learning rate"
    for trial in trials:
        if trial.still:
            return Finding(
                check,
                "failed",
                f"In phase {trial.phase}, at a rate of {rates[trial.phase]:g}, nothing moves in "
                f"{listed(trial.still)}.",
                "--optimizer.lr 1e-3 for a head (tltool plan --lr_range finds one).",
            )
    words = ", ".join(f"{trial.phase} {rates[trial.phase]:g}" for trial in trials)
    return Finding(check, "ok", f"moves every group that trains ({words})")


def frozen_stay(trials: Sequence[TrialSteps]) -> Finding:
    """Say whether frozen parameters and buffers are the same, bit for bit."""
    check = "frozen layers"
    for trial in trials:
        if trial.drifted:
            return Finding(
                check,
                "failed",
                f"In phase {trial.phase}, {len(trial.drifted)} of {trial.num_frozen} frozen "
                f"tensors changed in {trial.num_steps} steps: {listed(trial.drifted)}.",
                "Look for code that writes into them (a hook, a `forward` that keeps statistics).",
            )
    most = max(trials, key=lambda trial: trial.num_frozen, default=None)
    if most is None or not most.num_frozen:
        return Finding(check, "ok", "nothing is frozen")
    steps = f"after {most.num_steps} steps"
    return Finding(
        check,
        "ok",
        f"{most.num_frozen:,} tensors, buffers too, are bit for bit the same {steps} of phase "
        f"{most.phase}",
    )


def _optimizer(
    task: Any, phase: Phase, groups: Mapping[str, Sequence[str]]
) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = task.configure_optimizers()
    fine = layers(task) if phase.layer_decay < 1 else {}
    if fine:
        split_by_layer_(optimizer, task, fine)
    places = rate_groups(optimizer, task, groups, fine)
    for place, group in zip(places, optimizer.param_groups, strict=True):
        group["lr"] = group["lr"] * phase.group_lr_scale(place.group, place.depth)
    return optimizer


def _tensors(task: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers of backbone and head, also those in no state dict."""
    return {
        name: tensor
        for name, tensor in (*task.named_parameters(), *task.named_buffers())
        if name.startswith(("backbone.", "head."))
    }


def _frozen_names(
    task: nn.Module, phase: Phase, groups: Mapping[str, Sequence[str]], trained: set[str]
) -> set[str]:
    """Return what must not change: parameters that do not train, buffers of frozen groups."""
    names = {module: path for path, module in task.named_modules()}
    frozen = {name for name, _ in task.named_parameters()} - trained
    for module, owners in module_groups(task, groups).items():
        if owners.isdisjoint(phase.groups):
            buffers = module.named_buffers(recurse=False)
            frozen |= {f"{names[module]}.{buffer}" for buffer, _ in buffers}
    return {name for name in frozen if name.startswith(("backbone.", "head."))}
