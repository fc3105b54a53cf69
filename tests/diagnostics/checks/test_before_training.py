"""Loss, signal, batch norm, memory and overfitting one batch, before a run."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tltool.diagnostics.checks.batch_norm_gap import batch_norm_agrees, batch_norm_gap
from tltool.diagnostics.checks.checkpoint_round_trip import round_trip
from tltool.diagnostics.checks.class_balance import class_balance
from tltool.diagnostics.checks.overfitting import Limits, overfit_one_batch, overfits_one_batch
from tltool.diagnostics.checks.preprocessing_agreement import preprocessing_agrees
from tltool.diagnostics.checks.starting_loss import starting_loss
from tltool.diagnostics.checks.starting_signal import starting_signal_is_sound, starting_signals
from tltool.diagnostics.checks.step_memory import StepMemory, memory_suffices, step_memory
from tltool.models.heads import Head

LABELS = torch.tensor([0, 0, 0, 1])


def test_a_log_prior_starts_at_the_label_entropy():
    prior = torch.tensor([0.75, 0.25]).log().expand(4, 2)
    result = starting_loss(prior, LABELS, cross_entropy, class_counts=[3, 1])
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert result.status == "ok"
    assert f"label entropy = {entropy:.3f}" in result.found


@pytest.mark.parametrize(
    ("scale", "status"), [(0.0, "ok"), (50.0, "warning"), (float("nan"), "failed")]
)
def test_a_head_that_is_sure_of_wrong_answers_is_found(scale, status):
    logits = scale * torch.tensor([[-1.0, 1.0]]).expand(4, 2)
    assert starting_loss(logits, LABELS, cross_entropy).status == status


def test_a_new_head_that_knows_the_labels_is_found():
    logits = 9 * torch.nn.functional.one_hot(LABELS).float()
    assert "knows the answers already" in starting_loss(logits, LABELS, cross_entropy).found


def test_settled_statistics_agree_and_wrong_ones_do_not():
    torch.manual_seed(0)
    inputs = 3 + torch.randn(64, 5, 4, 4)
    norm = nn.Sequential(nn.BatchNorm2d(5, momentum=1.0), nn.Flatten())
    norm.train()(inputs)
    assert batch_norm_agrees(batch_norm_gap(norm, inputs), 64, trains=False).status == "ok"
    norm[0].running_var.mul_(1e4)
    gap = batch_norm_gap(norm, inputs)
    assert gap.norms[0].factor == pytest.approx(100, rel=0.01)
    assert batch_norm_agrees(gap, 64, trains=False).status == "failed"


def test_numbers_that_look_doubtful_say_why_they_are_fine():
    logits = torch.tensor([[2.0, 0.0], [-3.0, 0.0], [-3.0, 0.0], [0.0, 2.0]])
    result = starting_loss(logits, LABELS, cross_entropy)
    assert result.status == "ok"
    assert result.found.endswith(" above a guess; more than 1.5 above would be a warning")
    gap = batch_norm_gap(nn.BatchNorm1d(4), torch.randn(99, 4))
    kept = batch_norm_agrees(
        replace(gap, norms=[replace(gap.norms[0], is_untouched=False)]), 99, trains=False
    )
    assert (kept.status, "No phase normalizes by the batch" in kept.found) == ("ok", True)


@pytest.mark.parametrize(("mean", "found"), [(2.0, ["warning"] * 2), (0.5, ["ok"] * 2)])
def test_statistics_of_other_images_are_a_warning_be_they_kept_or_trained(mean, found):
    norm = nn.BatchNorm1d(4)
    norm.running_mean.fill_(mean)
    gap = batch_norm_gap(norm, torch.randn(99, 4, generator=torch.Generator().manual_seed(0)))
    results = [batch_norm_agrees(gap, 99, trains=trains) for trains in (False, True)]
    assert [result.status for result in results] == found


def test_the_remedy_of_other_statistics_depends_on_whether_they_stay():
    norm = nn.BatchNorm1d(4)
    norm.running_mean.fill_(2.0)
    gap = batch_norm_gap(norm, torch.randn(99, 4, generator=torch.Generator().manual_seed(0)))
    stays, moves = (batch_norm_agrees(gap, 99, trains=trains).remedy for trains in (False, True))
    assert "--finetuning BatchNormOnly" in stays
    assert "--finetuning.batch_norm eval" in moves


def test_looking_at_batch_norm_changes_nothing():
    norm = nn.BatchNorm1d(4).eval()
    batch_norm_gap(norm, torch.randn(9, 4))
    assert norm.num_batches_tracked == 0
    assert not norm.training
    assert not norm._forward_pre_hooks


def test_what_a_signal_is_compared_with_has_the_theoretical_spread():
    torch.manual_seed(0)
    head = Head(512, 3, hidden_features=[512] * 3, initializer="kaiming_normal")
    signals = starting_signals(head, torch.randn(256, 512))
    # Behind relu, a signal of second moment 1 in front has 1/2 - 1/(2 pi), which xavier halves.
    stds = {signal.initializer: signal.stds for signal in signals}
    assert stds["kaiming_normal"] == pytest.approx([math.sqrt(1 - 1 / math.pi)] * 3, rel=0.15)
    ratio = stds["xavier_normal"][2] / stds["xavier_normal"][0]
    assert ratio == pytest.approx(0.5, rel=0.2)
    assert starting_signal_is_sound(signals).status == "ok"


def test_a_signal_that_fades_through_the_head_is_a_warning():
    torch.manual_seed(0)
    head = Head(64, 3, hidden_features=[64] * 3, initializer={"name": "normal", "std": 0.01})
    result = starting_signal_is_sound(starting_signals(head, torch.randn(256, 64)))
    assert result.status == "warning"
    assert "shrinks" in result.found


def test_a_linear_head_has_no_depth_to_look_at():
    result = starting_signal_is_sound(starting_signals(Head(8, 3), torch.randn(9, 8)))
    assert "no hidden layers" in result.found


def test_a_head_without_a_way_to_learn_fails_to_overfit_one_batch():
    head = Head(8, 2, hidden_features=[8], initializer="zeros")
    inputs = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    found = overfit_one_batch(head, inputs, LABELS.repeat(2), Limits([1e-2], 50))
    result = overfits_one_batch(found, 8, on_features=True)
    assert result.status == "failed"
    assert "8 images in 50 steps" in result.found


def test_time_that_runs_out_is_said():
    inputs = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    limits = Limits([1e-9, 1e-9], 99, seconds=0)
    found = overfit_one_batch(nn.Linear(8, 2), inputs, LABELS, limits)
    result = overfits_one_batch(found, 4, on_features=False)
    assert found.num_steps == 1
    assert (result.status, "takes long" in result.found) == ("warning", True)


def test_memory_counts_weights_gradients_and_kept_activations():
    network = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 1))
    network[0].requires_grad_(False)
    inputs = torch.zeros(5, 10)
    found = step_memory(network, lambda: network(inputs).sum(), bytes_per_trained=12, scale=2.0)
    assert found.weights == 4 * (10 * 20 + 20 + 20 + 1)
    assert found.training == 12 * 21
    assert found.activations == 2 * 4 * 5 * 20  # what the second layer reads


def test_a_step_that_does_not_fit_fails_with_the_remedy():
    result = memory_suffices(StepMemory(8, 8, 8), 23, batch="8 images", remedy="--smaller")
    assert (result.status, result.remedy) == ("failed", "--smaller")


def test_a_checkpoint_may_differ_by_rounding():
    result = round_trip(torch.ones(2, 2), torch.ones(2, 2) + 1e-6, num_bytes=1)
    assert (result.status, "up to rounding" in result.found) == ("ok", True)


def test_a_checkpoint_with_other_answers_fails():
    result = round_trip(torch.zeros(2, 2), torch.tensor([[0, 0], [0, 0.5]]), num_bytes=1)
    assert result.status == "failed"
    assert "by up to 5.0e-01" in result.found


@pytest.mark.parametrize(
    ("counts", "status", "words"),
    [
        ({"train": [9, 9]}, "ok", "always saying 'a' is right for 50 %"),
        ({"train": [99, 9]}, "warning", "11 times the smallest"),
        ({"train": [9, 1]}, "warning", "b has only 1 for training"),
        ({"train": [9, 9], "val": [3, 0]}, "warning", "val images have none of b"),
        ({"train": [9, 0]}, "failed", "None of them are of b"),
    ],
)
def test_classes_are_weighed(counts, status, words):
    result = class_balance(counts, ["a", "b"])
    assert result.status == status
    assert words in result.found


@pytest.mark.parametrize(("pixel", "status"), [(float("nan"), "failed"), (0.0, "ok")])
def test_pixels_that_are_not_finite_fail(pixel, status):
    images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, 0] = pixel
    config = {"mean": (0.5,), "std": (0.5,)}
    assert preprocessing_agrees(config, config, images, weights="pretrained").status == status
