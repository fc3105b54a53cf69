"""A few steps show what gets a gradient, what moves, and what must not."""

from functools import partial

import torch

from tltool.diagnostics.checks.optimizer_groups import optimizer_groups
from tltool.diagnostics.checks.trial_steps import (
    frozen_stay,
    gradient_reaches,
    try_steps,
    weights_move,
)
from tltool.finetuning.strategies import FullFinetuning, LinearProbe
from tltool.models.heads import Head


def shapes_of(task):
    return {name: parameter.shape for name, parameter in task.named_parameters()}


def add_to_running_mean(module, inputs):
    module.running_mean.add_(1e-3)


def test_the_task_is_left_as_it_was(task, phase_of, batches):
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    try_steps(task, phase_of(task, FullFinetuning()), batches)
    assert all(torch.equal(before[name], tensor) for name, tensor in task.state_dict().items())
    assert all(parameter.grad is None for parameter in task.parameters())


def test_a_sound_probe_passes_all_checks(task, phase_of, batches):
    trials = [try_steps(task, phase_of(task, LinearProbe()), batches)]
    results = [gradient_reaches(trials, shapes_of(task)), weights_move(trials)]
    assert [result.status for result in [*results, frozen_stay(trials)]] == ["ok"] * 3
    assert trials[0].num_frozen == len(list(task.backbone.parameters())) + len(
        list(task.backbone.buffers())
    )


def test_a_head_that_starts_at_zero_lets_gradients_through_in_time(make_task, phase_of, batches):
    task = make_task(log_prior=True, class_counts=[5, 3])
    trials = [try_steps(task, phase_of(task, FullFinetuning()), batches)]
    assert gradient_reaches(trials, shapes_of(task)).status == "ok"


def test_a_backbone_behind_a_detached_output_is_found(task, phase_of, batches):
    task.backbone.register_forward_hook(lambda module, inputs, outputs: outputs.detach())
    trials = [try_steps(task, phase_of(task, FullFinetuning()), batches)]
    result = gradient_reaches(trials, shapes_of(task))
    assert result.status == "failed"
    assert "no gradient reaches" in result.found
    assert "backbone.model.conv1" in result.found


def test_a_dead_hidden_layer_is_found(make_task, phase_of, batches):
    task = make_task(head=partial(Head, hidden_features=[8], initializer="zeros"))
    trials = [try_steps(task, phase_of(task, LinearProbe()), batches)]
    assert "head.hidden.0.linear.weight" in gradient_reaches(trials, shapes_of(task)).found


def test_a_loss_that_is_not_finite_is_found(task, phase_of, batches):
    batches[1]["images"][0, 0, 0, 0] = float("nan")
    trials = [try_steps(task, phase_of(task, LinearProbe()), batches)]
    assert "nan" in gradient_reaches(trials, shapes_of(task)).found


def test_statistics_that_drift_in_a_frozen_group_are_found(task, phase_of, batches):
    task.backbone.model.bn1.register_forward_pre_hook(add_to_running_mean)
    result = frozen_stay([try_steps(task, phase_of(task, LinearProbe()), batches)])
    assert result.status == "failed"
    assert "backbone.model.bn1.running_mean" in result.found


def test_statistics_of_a_group_that_trains_may_change(task, phase_of, batches):
    result = frozen_stay([try_steps(task, phase_of(task, FullFinetuning()), batches)])
    assert result.found == "nothing is frozen"


def test_a_parameter_that_the_optimizer_lacks_is_found(task):
    optimizer = torch.optim.SGD([task.head.output.bias], lr=0.1)
    result = optimizer_groups(task, optimizer, {"head.output.weight", "head.output.bias"})
    assert result.status == "failed"
    assert "lacks 1 of 2 parameters that train: head.output.weight" in result.found
