"""`tltool plan --lr_range`: which learning rate to take, by a range test of the decisive phase."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from tltool._module_state import restored_state
from tltool._plain_text import plain_console
from tltool.cli.build import Experiment
from tltool.cli.frozen_backbone import features_of, set_up_frozen_backbone
from tltool.diagnostics.advice.lr_range import LRRange, lr_range_test, suggest_lr
from tltool.finetuning.phase import Phase
from tltool.finetuning.plan import Plan
from tltool.training.backbone_start import calibrate_backbone_
from tltool.training.head_start import start_head_


def print_lr_range(experiment: Experiment, made: Plan, steps: int) -> LRRange:
    """Print which learning rate the range test of a phase suggests, and why.

    It is the phase whose learning rate matters most: the first that trains layers of the backbone,
    if one does, for a linear head begins where it would end. A phase that trains the head alone is
    tested on cached features. The other phases are printed with the rate that they get from it.

    Args:
        experiment: What would train.
        made: Its phases.
        steps: Number of steps.
    """
    task, data = experiment.task, experiment.data
    phases = [each.phase for each in made.phases]
    phase = next((each for each in phases if set(each.trains) != {"head"}), phases[0])
    calibrate_backbone_(task.backbone, data)
    status = plain_console(stderr=True).status(f"{steps} steps at rising learning rates")
    with restored_state(task), status:
        batches, read = _inputs(experiment, phase)
        start_head_(task, data, read=read)
        found = lr_range_test(task, phase, batches, num_steps=steps)
    default = max(group["lr"] for group in task.configure_optimizers().param_groups)
    _say(made, phase, found, default)
    return found


def _inputs(
    experiment: Experiment, phase: Phase
) -> tuple[Iterable[Mapping[str, Any]], Callable[[], Tensor] | None]:
    """Return the training batches of a phase, and what reads all features if it needs no images."""
    data = experiment.data
    if set(phase.trains) != {"head"} or data.is_random:
        return data.train_dataloader(), None
    options = set_up_frozen_backbone(experiment, cache=None)
    features = features_of(experiment, data.dataset("train"), **options).tensor().float()
    labels = torch.as_tensor(data.samples("train").labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    batches = [
        {"features": features[rows], "labels": labels[rows]}
        for rows in torch.split(order, data.batch_size)
    ]
    return batches, lambda: features


def _say(made: Plan, tested: Phase, found: LRRange, default: float) -> None:
    """Print a line for each phase: which learning rate to take, and what others get from it."""
    lr, why = suggest_lr(found, default)
    take = f"keep --optimizer.lr {lr:g}" if lr == default else f"take --optimizer.lr {lr:.2g}"
    for planned in made.phases:
        words = f"{take}, {why}."
        if planned.phase is not tested:
            now = max(max(planned.lrs_of(group).values()) for group in planned.trained)
            words = f"{now * lr / default:.2g} with that, {_why_not(planned.phase)}."
        print(f"lr range phase {planned.phase.name}: {words}")


def _why_not(phase: Phase) -> str:
    if set(phase.trains) == {"head"}:
        return "not tested: the head alone trains, which depends on it less"
    return "not tested: it begins where the others end"
