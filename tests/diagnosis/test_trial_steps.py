"""A few steps show what gets a gradient, what moves, and what must not."""

from functools import partial

import pytest
import torch

from tltool.diagnosis.optimizer_groups import optimizer_groups
from tltool.diagnosis.trial_steps import frozen_stay, gradient_reaches, try_steps, weights_move
from tltool.finetuning import FullFinetuning, LinearProbe
from tltool.finetuning.groups import layer_groups
from tltool.models.backbone import Backbone
from tltool.models.heads import MLPHead
from tltool.training.image_task import ImageTask

RATES = {"probe": 0.1, "full": 0.1}


def make_task(**options):
    torch.manual_seed(0)
    return ImageTask(
        Backbone("test_resnet", weights="random"),
        num_classes=2,
        optimizer=partial(torch.optim.SGD, lr=0.1),
        **options,
    )


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 8, 3, 32, 32, generator=generator)
    return [{"images": batch, "labels": torch.tensor([0, 1] * 4)} for batch in images]


def phase_of(task, strategy):
    names = list(layer_groups(task))
    return strategy.resolved_schedule(names, 1).phases[0]


def shapes_of(task):
    return {name: parameter.shape for name, parameter in task.named_parameters()}


def add_to_running_mean(module, inputs):
    module.running_mean.add_(1e-3)


def test_the_task_is_left_as_it_was(batches):
    task = make_task()
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    try_steps(task, phase_of(task, FullFinetuning()), batches)
    assert all(torch.equal(before[name], tensor) for name, tensor in task.state_dict().items())
    assert all(parameter.grad is None for parameter in task.parameters())


def test_a_sound_probe_passes_all_checks(batches):
    task = make_task()
    trials = [try_steps(task, phase_of(task, LinearProbe()), batches)]
    results = [gradient_reaches(trials, shapes_of(task)), weights_move(trials, RATES)]
    assert [finding.status for finding in [*results, frozen_stay(trials)]] == ["ok"] * 3
    assert trials[0].num_frozen == len(list(task.backbone.parameters())) + len(
        list(task.backbone.buffers())
    )


def test_a_head_that_starts_at_zero_lets_gradients_through_in_time(batches):
    task = make_task(log_prior=True, class_counts=[5, 3])
    trials = [try_steps(task, phase_of(task, FullFinetuning()), batches)]
    assert gradient_reaches(trials, shapes_of(task)).status == "ok"


def test_a_backbone_behind_a_detached_output_is_found(batches):
    task = make_task()
    task.backbone.register_forward_hook(lambda module, inputs, outputs: outputs.detach())
    trials = [try_steps(task, phase_of(task, FullFinetuning()), batches)]
    finding = gradient_reaches(trials, shapes_of(task))
    assert finding.status == "failed"
    assert "no gradient reaches" in finding.found
    assert "backbone.model.conv1" in finding.found


def test_a_dead_hidden_layer_is_found(batches):
    task = make_task(head=partial(MLPHead, hidden_features=[8], initializer="zeros"))
    trials = [try_steps(task, phase_of(task, LinearProbe()), batches)]
    assert "head.hidden.0.linear.weight" in gradient_reaches(trials, shapes_of(task)).found


def test_a_loss_that_is_not_finite_is_found(batches):
    task = make_task()
    batches[1]["images"][0, 0, 0, 0] = float("nan")
    trials = [try_steps(task, phase_of(task, LinearProbe()), batches)]
    assert "nan" in gradient_reaches(trials, shapes_of(task)).found


def test_statistics_that_drift_in_a_frozen_group_are_found(batches):
    task = make_task()
    task.backbone.model.bn1.register_forward_pre_hook(add_to_running_mean)
    finding = frozen_stay([try_steps(task, phase_of(task, LinearProbe()), batches)])
    assert finding.status == "failed"
    assert "backbone.model.bn1.running_mean" in finding.found


def test_statistics_of_a_group_that_trains_may_change(batches):
    task = make_task()
    finding = frozen_stay([try_steps(task, phase_of(task, FullFinetuning()), batches)])
    assert finding.found == "nothing is frozen"


def test_a_parameter_that_the_optimizer_lacks_is_found():
    task = make_task()
    optimizer = torch.optim.SGD([task.head.output.bias], lr=0.1)
    finding = optimizer_groups(task, optimizer, {"head.output.weight", "head.output.bias"})
    assert finding.status == "failed"
    assert "lacks 1 of 2 parameters that train: head.output.weight" in finding.found
