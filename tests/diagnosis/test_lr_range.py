"""The range test finds a rate that trains, and leaves everything as it was."""

from functools import partial

import pytest
import torch

from tltool.diagnosis.lr_range import RateRange, learning_rate_range
from tltool.finetuning import FullFinetuning, LinearProbe
from tltool.finetuning.groups import layer_groups
from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask


@pytest.fixture
def task():
    torch.manual_seed(0)
    return ImageTask(
        Backbone("test_resnet", weights="random"),
        num_classes=2,
        optimizer=partial(torch.optim.SGD, lr=0.1),
    )


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1] * 4)
    noise = torch.randn(3, 8, 3, 32, 32, generator=generator)
    return [{"images": images + labels.view(-1, 1, 1, 1), "labels": labels} for images in noise]


def phase_of(task, strategy):
    names = list(layer_groups(task))
    return strategy.resolved_schedule(names, 1).phases[0]


def test_the_task_is_left_as_it_was(task, batches):
    state = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    modes = [module.training for module in task.modules()]
    gradients = [parameter.requires_grad for parameter in task.parameters()]
    random = torch.get_rng_state()
    learning_rate_range(task, phase_of(task, FullFinetuning()), batches, num_steps=12)
    torch.testing.assert_close(task.state_dict(), state, rtol=0, atol=0)
    assert [module.training for module in task.modules()] == modes
    assert [parameter.requires_grad for parameter in task.parameters()] == gradients
    assert torch.equal(torch.get_rng_state(), random)


def test_a_rate_much_too_high_ends_the_test(task, batches):
    found = learning_rate_range(
        task, phase_of(task, LinearProbe()), batches, num_steps=40, highest=1e6
    )
    assert found.exploded
    assert found.steepest <= found.best < found.rates[-1] < 1e5


def test_groups_keep_their_ratios(task, batches, monkeypatch):
    seen = []
    optimizer = task.configure_optimizers()
    step = optimizer.step
    monkeypatch.setattr(
        optimizer, "step", lambda: (seen.append([g["lr"] for g in optimizer.param_groups]), step())
    )
    monkeypatch.setattr(task, "configure_optimizers", lambda: optimizer)
    phase = phase_of(task, FullFinetuning(backbone_lr_scale=0.1))
    learning_rate_range(task, phase, batches, num_steps=10, highest=1.0)
    ratios = {round(rates[0] / rates[-1], 6) for rates in seen}
    assert ratios == {0.1}


def test_frozen_groups_stay_as_they_are_during_the_test(task, batches, monkeypatch):
    weight = next(task.backbone.parameters())
    before, seen = weight.detach().clone(), []
    loss = task.training_loss
    monkeypatch.setattr(
        task, "training_loss", lambda *args: (seen.append(weight.clone()), loss(*args))[1]
    )
    learning_rate_range(task, phase_of(task, LinearProbe()), batches, num_steps=10)
    assert all(torch.equal(value, before) for value in seen)


def test_the_steepest_fall_lies_before_the_least_loss():
    losses = [1.0, 1.0, 1.0, 0.9, 0.6, 0.3, 0.25, 0.24, 0.4, 0.9]
    found = RateRange([10.0**n for n in range(10)], losses, exploded=True)
    assert found.best == 1e7
    assert found.steepest == 1e4


def test_too_few_steps_are_refused(task, batches):
    with pytest.raises(ValueError, match="at least 10 steps, got 3"):
        learning_rate_range(task, phase_of(task, LinearProbe()), batches, num_steps=3)
