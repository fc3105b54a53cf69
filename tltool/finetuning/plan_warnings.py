"""Warnings about a plan: settings that are rarely meant, each with the remedy."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from tltool.finetuning.freeze import module_groups
from tltool.finetuning.phase import Phase
from tltool.finetuning.plan import Plan, PlannedPhase
from tltool.finetuning.schedule import Schedule
from tltool.layers.fitted_norms import FittedNorm
from tltool.models.layer_groups import layer_groups

HIGHEST_USUAL_LRS = {"SGD": 0.2, "Adam": 2e-3}
"""The learning rates of training from scratch, doubled; fine-tuning stays below them. SGD: 0.1 for
a batch of 256 (Goyal et al., 2017, https://arxiv.org/abs/1706.02677). The Adam family: 1e-3 for a
batch of 1024 (Touvron et al., 2020, https://arxiv.org/abs/2012.12877)."""

ENOUGH_SAMPLES = 16
"""Batch norm on fewer samples estimates mean and variance badly (Wu & He, 2018,
https://arxiv.org/abs/1803.08494, figure 1)."""


def plan_warnings(
    plan: Plan, task: nn.Module, optimizer: Optimizer, *, batch_per_device: int
) -> list[str]:
    """Return a sentence for each thing in a plan that is rarely meant, with the remedy.

    Args:
        plan: What will train when.
        task: The model of the plan.
        optimizer: Its optimizer.
        batch_per_device: Number of samples that each device gets at once.
    """
    warnings = []
    head_has_trained = False
    for planned in plan.phases:
        head_has_trained |= "head" in planned.trained
        if not head_has_trained:
            warnings.append(
                f"Phase {planned.phase.name!r} trains the backbone under a head that is still "
                "random. Add head to its `trains`, or train the head in a phase before."
            )
        warnings += _high_lr(planned, optimizer)
    return warnings + schedule_warnings(plan.schedule, task, batch_per_device=batch_per_device)


def schedule_warnings(
    schedule: Schedule, task: nn.Module, *, batch_per_device: int | None
) -> list[str]:
    """Return what `plan_warnings` says that needs no optimizer.

    Args:
        schedule: A resolved schedule.
        task: The model that it trains.
        batch_per_device: Number of samples that each device gets at once; ``None`` if not known.
    """
    groups = layer_groups(task)
    warnings = []
    never = schedule.never_trained(list(groups))
    if never:
        warnings.append(
            f"No phase trains {', '.join(never)}. Train longer, or list them in the schedule's "
            "`frozen` if that is what you want."
        )
    if batch_per_device is not None and batch_per_device < ENOUGH_SAMPLES:
        owners = module_groups(task, groups)
        for phase in schedule.phases:
            warnings += _small_shares(phase, owners, batch_per_device)
    return warnings + _stale_input_norm(schedule.phases, task)


def _stale_input_norm(phases: Sequence[Phase], task: nn.Module) -> list[str]:
    """Return a warning if features change behind an input norm that was fitted to them once."""
    norm = getattr(task.get_submodule("head"), "input_norm", None)
    trains = next((p.name for p in phases if any(group != "head" for group in p.groups)), None)
    if trains is None or not isinstance(norm, FittedNorm):
        return []
    return [
        f"Phase {trains!r} trains the backbone, and the head's {type(norm).__name__} is fitted "
        "once, to the features before. Set `input_norm: batch`, which follows them."
    ]


def _high_lr(planned: PlannedPhase, optimizer: Optimizer) -> list[str]:
    names = [cls.__name__ for cls in type(optimizer).__mro__]
    family = next((f for f in HIGHEST_USUAL_LRS if any(f in name for name in names)), None)
    in_backbone = {label: lr for label, lr in planned.lrs.items() if label != "head"}
    if family is None or not in_backbone:
        return []
    label = max(in_backbone, key=lambda name: in_backbone[name])
    lr, usual = in_backbone[label], HIGHEST_USUAL_LRS[family]
    if lr <= usual:
        return []
    return [
        f"Phase {planned.phase.name!r} trains {label} with lr {lr:g}, far above the usual one "
        f"of pretrained layers with {type(optimizer).__name__} (at most {usual:g}). Lower "
        "--optimizer.lr, or the phase's `lr_scale`."
    ]


def _small_shares(
    phase: Phase, owners: Mapping[nn.Module, AbstractSet[str]], batch_per_device: int
) -> list[str]:
    trained = set(phase.groups) - {"head"}  # A head says it by itself, see `head_warnings`.
    num_norms = sum(
        isinstance(module, _BatchNorm) and not groups.isdisjoint(trained)
        for module, groups in owners.items()
    )
    if not num_norms or phase.batch_norm == "frozen":
        return []
    return [
        f"Phase {phase.name!r} trains {num_norms} batch norms on {batch_per_device} samples per "
        f"device. Set its `batch_norm: frozen`, or raise --data.batch_size to {ENOUGH_SAMPLES} per "
        "device."
    ]
