"""Warnings about a plan: settings that are rarely meant, each with the remedy."""

import tomllib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from importlib import resources

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from tltool.finetuning.freeze import module_groups
from tltool.finetuning.frozen_edits import find_frozen_edits
from tltool.finetuning.phase import KEEPS_STATISTICS, Phase
from tltool.finetuning.plan import Plan, PlannedPhase
from tltool.finetuning.schedule import Schedule
from tltool.layers.fitted_norms import FittedNorm
from tltool.models.layer_groups import layer_groups
from tltool.surgery.norm_folding import FoldedNorms

_file = resources.files(__package__) / "plan_warnings.toml"
MESSAGES: dict[str, str] = tomllib.loads(_file.read_text(encoding="utf-8"))

#: The learning rates of training from scratch, doubled; fine-tuning stays below them. SGD: 0.1 for
#: a batch of 256 (Goyal et al., 2017, https://arxiv.org/abs/1706.02677). The Adam family: 1e-3 for
#: a batch of 1024 (Touvron et al., 2020, https://arxiv.org/abs/2012.12877).
HIGHEST_USUAL_LRS = {"SGD": 0.2, "Adam": 2e-3}

#: Batch norm on fewer samples estimates mean and variance badly (Wu & He, 2018,
#: https://arxiv.org/abs/1803.08494, figure 1).
ENOUGH_SAMPLES = 16


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
            warnings.append(MESSAGES["random_head"].format(phase=planned.phase.name))
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
        warnings.append(MESSAGES["never_trained"].format(groups=", ".join(never)))
    owners = module_groups(task, groups)
    folded = _folded_layers(task, groups)
    for phase in schedule.phases:
        warnings += _batch_norms(phase, owners, batch_per_device)
        num_layers = sum(group in phase.groups for group in folded)
        if num_layers:
            words = {"phase": phase.name, "num_layers": num_layers}
            warnings.append(MESSAGES["folded_norms"].format(**words))
    norm = getattr(task.get_submodule("head"), "input_norm", None)
    trains = (p.name for p in schedule.phases if any(group != "head" for group in p.groups))
    phase_name = next(trains, None)
    if phase_name is not None and isinstance(norm, FittedNorm):
        words = {"phase": phase_name, "norm": type(norm).__name__}
        warnings.append(MESSAGES["stale_input_norm"].format(**words))
    for edit in find_frozen_edits(schedule, task):
        warnings.append(MESSAGES[f"frozen_{edit.damage}"].format(where=edit.where))
    return warnings


def _high_lr(planned: PlannedPhase, optimizer: Optimizer) -> list[str]:
    names = [cls.__name__ for cls in type(optimizer).__mro__]
    family = next((f for f in HIGHEST_USUAL_LRS if any(f in name for name in names)), None)
    in_backbone = {label: lr for label, lr in planned.lrs.items() if label != "head"}
    if family is None or not in_backbone:
        return []
    label, lr = max(in_backbone.items(), key=lambda item: item[1])
    usual = HIGHEST_USUAL_LRS[family]
    words = {"phase": planned.phase.name, "label": label, "optimizer": type(optimizer).__name__}
    return [MESSAGES["high_lr"].format(**words, lr=lr, usual=usual)] if lr > usual else []


def _batch_norms(
    phase: Phase, owners: Mapping[nn.Module, AbstractSet[str]], samples: int | None
) -> list[str]:
    """Warn of statistics of few samples, and of running statistics of none."""
    trained = set(phase.groups) - {"head"}  # A head says it by itself, see `head_warnings`.
    all_norms = [module for module in owners if isinstance(module, _BatchNorm)]
    norms = [norm for norm in all_norms if not owners[norm].isdisjoint(trained)]
    words = {"phase": phase.name, "num_norms": len(norms), "samples": samples}
    if phase.batch_norm in KEEPS_STATISTICS:
        new = [norm for norm in norms if _is_new(norm)]
        words["num_norms"] = len(new)
        return [MESSAGES["new_statistics"].format(**words)] if new else []
    is_few = samples is not None and samples < ENOUGH_SAMPLES and norms
    return [MESSAGES["small_batch"].format(**words, enough=ENOUGH_SAMPLES)] if is_few else []


def _folded_layers(task: nn.Module, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the layer group of each layer that does the work of a batch norm too."""
    reports = getattr(task.get_submodule("backbone"), "surgery_reports", ())
    group_of = {parameter: group for group, names in groups.items() for parameter in names}
    reports = [report for report in reports if isinstance(report, FoldedNorms)]
    layers = {layer for r in reports for layer in (*r.folded.values(), *r.merged.values())}
    prefixes = [f"backbone.model.{layer}." for layer in layers]
    return [
        next((group_of[name] for name in group_of if name.startswith(prefix)), "")
        for prefix in prefixes
    ]


def _is_new(norm: _BatchNorm) -> bool:
    """Tell whether running statistics are those of a new layer."""
    mean, var = norm.running_mean, norm.running_var
    return mean is not None and var is not None and bool((mean == 0).all() and (var == 1).all())
