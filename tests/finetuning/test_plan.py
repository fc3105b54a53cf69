"""A plan says in numbers what the callback then does."""

from functools import partial

import pytest
import timm.optim
import torch

from tltool.finetuning.param_groups import param_groups
from tltool.finetuning.phase import Phase, Until
from tltool.finetuning.plan import bytes_per_parameter, make_plan
from tltool.finetuning.plan_warnings import plan_warnings
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import (
    LPFT,
    BatchNormOnly,
    FullFinetuning,
    GradualUnfreezing,
    LayerwiseDecay,
    LinearProbe,
)
from tltool.layers.fitted_norms import Standardize
from tltool.models.layer_groups import layer_groups
from tltool.surgery.norm_folding import fold_norms
from tltool.training.callbacks.finetuning import Finetuning

SGD = partial(torch.optim.SGD, lr=0.1)
ADAMW = partial(torch.optim.AdamW, lr=1e-3)
STRATEGIES = [LPFT(probe_epochs=1), LayerwiseDecay(), BatchNormOnly(), GradualUnfreezing()]


def plan_of(task, schedule, make=SGD, max_epochs=3):
    names = list(layer_groups(task))
    schedule = schedule if isinstance(schedule, Schedule) else schedule.schedule(names, max_epochs)
    return make_plan(
        task,
        make,
        make(param_groups(task, 0.0)),
        schedule.resolve(names, max_epochs),
        steps_per_epoch=4,
        max_epochs=max_epochs,
    )


def warnings_of(task, schedule, make=SGD, batch=32, *, is_new=False):
    if not is_new:  # As with pretrained weights: the running statistics are of images.
        task.train().backbone(torch.randn(4, 3, 32, 32))
    plan = plan_of(task, schedule, make)
    return plan_warnings(plan, task, make(task.parameters()), batch_per_device=batch)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_planned_rates_are_those_of_training(make_task, fit, strategy):
    task = make_task("test_resnet")
    fit(task, Finetuning(strategy), max_epochs=3)
    plan = plan_of(make_task("test_resnet"), strategy)
    step, lrs = 7, task.lrs[7]
    trained = {name: lr for name, lr in lrs.items() if lr}
    planned = {name: plan.lr(name.removesuffix("/no_decay"), step) for name in trained}
    assert planned == pytest.approx(trained)


@pytest.mark.parametrize("strategy", [LinearProbe(), FullFinetuning(), BatchNormOnly()])
def test_the_planned_parameters_are_those_that_train(make_task, fit, strategy):
    task = make_task("test_efficientnet")
    fit(task, Finetuning(strategy), max_epochs=1)
    (planned,) = plan_of(make_task("test_efficientnet"), strategy, max_epochs=1).phases
    trained = sum(p.numel() for p in task.parameters() if p.requires_grad)
    assert sum(planned.trained.values()) == trained


def test_a_phase_that_a_metric_ends_is_planned_at_its_longest(make_task):
    phases = (
        Phase("probe", ("head",), until=Until("val/loss", max_epochs=2)),
        Phase("all", ("*",), epochs=1),
    )
    plan = plan_of(make_task(), Schedule(phases))
    assert [p.span.planned_end for p in plan.phases] == [8, 12]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (SGD, 4),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9), 8),
        (ADAMW, 12),
        (partial(timm.optim.Lion, lr=0.1), 8),
    ],
)
def test_memory_counts_the_gradient_and_the_state_of_the_optimizer(make, expected):
    assert bytes_per_parameter(make) == pytest.approx(expected, abs=0.01)


def test_a_sound_plan_gets_no_warning(make_task):
    assert warnings_of(make_task(), LPFT(), ADAMW) == []


def test_a_backbone_that_trains_under_a_random_head_is_said(make_task):
    schedule = Schedule((Phase("late", ("backbone.*",)),), frozen=("head",))
    assert "head that is still random" in warnings_of(make_task(), schedule)[0]


def test_groups_that_never_train_are_said(make_task):
    schedule = Schedule((Phase("probe", ("head",)),))
    (warning,) = warnings_of(make_task(), schedule)
    assert warning.startswith("No phase trains backbone.")


@pytest.mark.parametrize("make", [partial(torch.optim.AdamW, lr=0.1), partial(SGD, lr=1.0)])
def test_a_rate_far_above_the_usual_is_said(make_task, make):
    (warning,) = warnings_of(make_task(), FullFinetuning(), make)
    assert "far above the usual" in warning


def test_batch_norm_on_small_shares_is_said(make_task):
    (warning,) = warnings_of(make_task(), FullFinetuning(batch_norm="train"), ADAMW, batch=2)
    assert "batch norms on 2 samples per device" in warning


@pytest.mark.parametrize(
    "strategy", [LinearProbe(), FullFinetuning(batch_norm="frozen")], ids=["frozen", "evaluation"]
)
def test_batch_norm_that_does_not_train_needs_no_large_share(make_task, strategy):
    assert warnings_of(make_task(), strategy, ADAMW, batch=2) == []


def test_running_statistics_of_no_image_are_said(make_task):
    (warning,) = warnings_of(make_task(), FullFinetuning(), ADAMW, is_new=True)
    assert "batch norms that have seen no image" in warning


@pytest.mark.parametrize(("strategy", "count"), [(LinearProbe(), 0), (FullFinetuning(), 1)])
def test_an_input_norm_that_goes_stale_is_said(make_task, strategy, count):
    task = make_task()
    task.head.input_norm = Standardize(4)
    assert len(warnings_of(task, strategy, ADAMW)) == count


@pytest.mark.parametrize(
    ("groups", "count"), [(("head",), 0), (("head", "backbone.layer4"), 3), (("*",), 15)]
)
def test_layers_with_folded_norms_that_train_are_said(make_task, groups, count):
    task = make_task("test_resnet")
    report = fold_norms(task.backbone.model, example=torch.zeros(1, 3, 32, 32))
    task.backbone.surgery_reports = [report]
    frozen = tuple(group for group in layer_groups(task) if group not in groups)
    schedule = Schedule((Phase("all", groups),), frozen=() if "*" in groups else frozen)
    warnings = warnings_of(task, schedule, ADAMW)
    numbers = [warning.split()[3] for warning in warnings if "batch norms are folded" in warning]
    assert numbers == [str(count)] * bool(count)
