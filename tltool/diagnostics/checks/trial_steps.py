"""Trial steps of a phase on a copy: which parameters get a gradient, move, or stay frozen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tltool.diagnostics.checks.check_result import Check, CheckResult, listed
from tltool.diagnostics.phase_training import copy_in_phase, phase_optimizer, train_steps
from tltool.finetuning.freeze import module_groups
from tltool.finetuning.phase import Phase
from tltool.models.layer_groups import layer_groups

#: A log prior and a residual branch that starts at zero each hold gradients back for a step.
NUM_STEPS = 3


@dataclass(frozen=True)
class TrialSteps:
    """What a few steps did.

    Attributes:
        phase: Name of the phase.
        lr: The largest learning rate.
        trained: Layer groups that train.
        losses: The loss before each step.
        unreached: Trained parameters without a gradient, or with zeros in all steps.
        still: Trained layer groups in which nothing moved.
        leaking: Frozen parameters with a gradient.
        drifted: Frozen parameters and buffers that changed.
        num_frozen: Number of frozen parameters and buffers.
    """

    phase: str
    lr: float
    trained: tuple[str, ...]
    losses: list[float]
    unreached: list[str]
    still: list[str]
    leaking: list[str]
    drifted: list[str]
    num_frozen: int


def try_steps(task: Any, phase: Phase, batches: Sequence[Mapping[str, Any]]) -> TrialSteps:
    """Train a copy of a task for a step on each batch, at the full learning rates of a phase.

    Args:
        task: A task with a ``backbone`` and a ``head``, ``configure_optimizers()`` and
            ``training_loss(logits, labels)``; it is left as it is.
        phase: What trains, resolved.
        batches: Batches with ``images`` and ``labels``.
    """
    task = copy_in_phase(task, phase)
    optimizer = phase_optimizer(task, phase)
    parameters = dict(task.named_parameters())
    trained = {name for name, parameter in parameters.items() if parameter.requires_grad}
    before = {name: tensor.detach().clone() for name, tensor in _tensors(task).items()}
    reached: set[str] = set()
    losses = []
    for loss in train_steps(task, optimizer, batches):
        losses.append(loss)
        reached |= {n for n, p in parameters.items() if p.grad is not None and (p.grad != 0).any()}
    # NaN differs from itself, and that is a change.
    changed = {name for name, tensor in _tensors(task).items() if (tensor != before[name]).any()}
    groups = layer_groups(task)
    frozen = before.keys() - trained - _trained_buffers(task, phase, module_groups(task, groups))
    return TrialSteps(
        phase.name,
        max(group["lr"] for group in optimizer.param_groups),
        phase.groups,
        losses,
        unreached=[name for name in parameters if name in trained - reached],
        still=[group for group in phase.groups if changed.isdisjoint(trained & set(groups[group]))],
        leaking=[name for name in parameters if name in reached - trained],
        drifted=[name for name in before if name in changed & frozen],
        num_frozen=len(frozen),
    )


def gradient_reaches(trials: Sequence[TrialSteps], shapes: Mapping[str, torch.Size]) -> CheckResult:
    """Say whether a gradient reaches all that trains, and nothing that is frozen.

    Args:
        trials: One for each phase.
        shapes: Of each parameter by name: a matrix without a gradient is a failure, a bias or a
            slope may just be idle.
    """
    check = Check("gradients")
    for trial in trials:
        if not all(map(math.isfinite, trial.losses)):
            losses = ", ".join(f"{loss:.3g}" for loss in trial.losses)
            return check.problem("not_finite", phase=trial.phase, losses=losses)
        if trial.leaking:
            return check.problem("leaking", phase=trial.phase, names=listed(trial.leaking))
        if trial.unreached:
            matrices = [name for name in trial.unreached if len(shapes[name]) > 1]
            names, number = listed(matrices or trial.unreached), len(trial.unreached)
            is_failure, phase = bool(matrices), trial.phase
            words: dict[str, Any] = {"phase": phase, "number": number, "names": names}
            return check.problem("unreached", is_failure=is_failure, **words)
    groups = dict.fromkeys(group for trial in trials for group in trial.trained)
    names = ", ".join(trial.phase for trial in trials)
    return check.ok(f"reach all of the {len(groups)} layer groups that train (phases: {names})")


def weights_move(trials: Sequence[TrialSteps]) -> CheckResult:
    """Say whether each layer group that trains has moved."""
    check = Check("learning rate")
    for trial in trials:
        if trial.still:
            names = listed(trial.still)
            return check.problem("still", phase=trial.phase, lr=trial.lr, names=names)
    words = ", ".join(f"{trial.phase} {trial.lr:g}" for trial in trials)
    return check.ok(f"moves every group that trains ({words})")


def frozen_stay(trials: Sequence[TrialSteps]) -> CheckResult:
    """Say whether frozen parameters and buffers are the same, bit for bit."""
    check = Check("frozen layers")
    most = max(trials, key=lambda trial: (bool(trial.drifted), trial.num_frozen))
    phase, frozen, steps = most.phase, most.num_frozen, len(most.losses)
    if most.drifted:
        words: dict[str, Any] = {"number": len(most.drifted), "names": listed(most.drifted)}
        return check.problem("drifted", phase=phase, frozen=frozen, steps=steps, **words)
    if not frozen:
        return check.ok("nothing is frozen")
    same = "tensors, buffers too, are bit for bit the same after"
    return check.ok(f"{frozen:,} {same} {steps} steps of phase {phase}")


def _tensors(task: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers of backbone and head, also those in no state dict."""
    tensors = (*task.named_parameters(), *task.named_buffers())
    return {name: tensor for name, tensor in tensors if name.startswith(("backbone.", "head."))}


def _trained_buffers(task: nn.Module, phase: Phase, owners: dict[nn.Module, set[str]]) -> set[str]:
    """Return the names of the buffers of groups that train, which may change."""
    paths = {module: path for path, module in task.named_modules()}
    trained = [module for module, names in owners.items() if not names.isdisjoint(phase.groups)]
    return {f"{paths[m]}.{name}" for m in trained for name, _ in m.named_buffers(recurse=False)}
