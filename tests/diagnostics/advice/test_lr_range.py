"""The range test finds a rate that trains, and leaves everything as it was."""

import pytest
import torch

from tltool.diagnostics.advice.lr_range import LRRange, lr_range_test, suggest_lr
from tltool.finetuning.strategies import FullFinetuning, LinearProbe
from tltool.training.image_task import ImageTask


def test_the_task_is_left_as_it_was(task, phase_of, batches):
    state = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    modes = [module.training for module in task.modules()]
    gradients = [parameter.requires_grad for parameter in task.parameters()]
    random = torch.get_rng_state()
    lr_range_test(task, phase_of(task, FullFinetuning()), batches, num_steps=12)
    torch.testing.assert_close(task.state_dict(), state, rtol=0, atol=0)
    assert [module.training for module in task.modules()] == modes
    assert [parameter.requires_grad for parameter in task.parameters()] == gradients
    assert torch.equal(torch.get_rng_state(), random)


def test_a_rate_much_too_high_ends_the_test(task, phase_of, batches):
    found = lr_range_test(task, phase_of(task, LinearProbe()), batches, num_steps=40, highest=1e6)
    assert found.exploded
    assert found.steepest <= found.best < found.lrs[-1] < 1e5


def test_groups_keep_their_ratios(make_task, phase_of, batches):
    seen = []

    class RecordingSGD(torch.optim.SGD):
        def step(self, closure=None):
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    task = make_task(RecordingSGD)
    phase = phase_of(task, FullFinetuning(backbone_lr_scale=0.1))
    lr_range_test(task, phase, batches, num_steps=10, highest=1.0)
    assert {round(lrs[0] / lrs[-1], 6) for lrs in seen} == {0.1}


def test_frozen_groups_stay_as_they_are_during_the_test(task, phase_of, batches, monkeypatch):
    before, seen = next(task.backbone.parameters()).detach().clone(), []
    loss = ImageTask.training_loss

    def recorded(self, *args):
        seen.append(next(self.backbone.parameters()).clone())
        return loss(self, *args)

    monkeypatch.setattr(ImageTask, "training_loss", recorded)
    lr_range_test(task, phase_of(task, LinearProbe()), batches, num_steps=10)
    assert len(seen) == 10
    assert all(torch.equal(value, before) for value in seen)


@pytest.mark.parametrize(
    ("losses", "falls"), [([0.1, 0.11, 0.12, 0.15, 0.2, 0.5], False), ([0.5, 0.4, 0.3, 0.2], True)]
)
def test_it_knows_whether_the_loss_falls_anywhere(losses, falls):
    found = LRRange([10.0**n for n in range(len(losses))], losses, exploded=True)
    assert found.falls is falls


def test_the_steepest_fall_lies_before_the_least_loss():
    losses = [1.0, 1.0, 1.0, 0.9, 0.6, 0.3, 0.25, 0.24, 0.4, 0.9]
    found = LRRange([10.0**n for n in range(10)], losses, exploded=True)
    assert found.best == 1e7
    assert found.steepest == 1e4


# Of a head at its closed-form solution, least by chance late or at once, and with a clear fall in
# front.
NOISE = [0.31, 0.31, 0.28, 0.30, 0.31, 0.33, 0.33, 0.33, 0.31, 0.27, 0.45, 0.6, 0.6, 1.2]
FIRST = [0.30, 0.30, 0.34, 0.33, 0.33, 0.32, 0.31, 0.32, 0.33, 0.33, 0.45, 0.6, 0.6, 1.2]
EARLY = [0.60, 0.60, 0.40, 0.30, 0.29, 0.29, 0.29, 0.29, 0.29, 0.28, 0.45, 0.95, 1.0, 1.2]


@pytest.mark.parametrize(
    ("losses", "default", "lr", "why"),
    [
        (NOISE, 1e5, 1e5, "the default: the loss begins near its least"),
        (NOISE, 1e11, 1e10 / 3, "a third of what does harm"),
        (FIRST, 1e8, 1e8, "the default: the loss begins near its least"),
        (EARLY, 1e9, 1e9, "the default: the steepest fall, at 1e+04, is far below it"),
        (EARLY, 1e2, 1e4, "where the loss falls most steeply"),
    ],
)
def test_a_start_near_the_least_loss_keeps_the_default(losses, default, lr, why):
    found = LRRange([10.0**n for n in range(14)], losses, exploded=True)
    suggested = suggest_lr(found, default)
    assert suggested.lr == pytest.approx(lr)
    assert suggested.why.startswith(why)


def test_too_few_steps_are_refused(task, phase_of, batches):
    with pytest.raises(ValueError, match="at least 10 steps, got 3"):
        lr_range_test(task, phase_of(task, LinearProbe()), batches, num_steps=3)
