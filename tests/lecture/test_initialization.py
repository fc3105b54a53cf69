"""Initial weights, and what becomes of signals and gradients."""

import math
from dataclasses import replace

import pytest
import torch

from tltool.lecture.claim import Judgement
from tltool.lecture.initialization import (
    Initialization,
    Passage,
    passage,
    ratio,
    signals_of,
    statements,
)
from tltool.lecture.table import where
from tltool.lecture.training import build_head

WIDE = Initialization(width=200, depth=6, seeds=1)
KEPT, GONE, BLOWN = Passage(1.0, 1.0, 0.0), Passage(0.1, 0.1, 0.0), Passage(9.0, 9.0, 0.9)
AS_CLAIMED = {
    ("tanh", "normal 0.01"): GONE,
    ("tanh", "normal 1"): Passage(1.0, 50.0, 0.9),
    ("tanh", "xavier_normal"): KEPT,
    ("tanh", "kaiming_normal"): KEPT,
    ("relu", "normal 0.01"): GONE,
    ("relu", "normal 1"): BLOWN,
    ("relu", "xavier_normal"): GONE,
    ("relu", "kaiming_normal"): KEPT,
}


def passed(blobs, activation, initializer):
    rows = replace(WIDE, activations=(activation,)).run(blobs)
    return passage(where(rows, initializer=initializer))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_small_weights_kill_signal_and_gradient(blobs, activation):
    found = passed(blobs, activation, "normal 0.01")
    assert found.forward < 1e-2
    assert found.backward < 1e-2


def test_large_weights_saturate_tanh(blobs):
    assert passed(blobs, "tanh", "normal 1").flat > 0.5


def test_large_weights_blow_relu_up(blobs):
    assert passed(blobs, "relu", "normal 1").forward > 100


def test_xavier_halves_the_second_moment_in_each_layer_of_relu(blobs):
    expected = math.sqrt(0.5) ** (WIDE.depth - 1)
    assert passed(blobs, "relu", "xavier_normal").forward == pytest.approx(expected, rel=0.3)


def test_kaiming_keeps_relu(blobs):
    assert passed(blobs, "relu", "kaiming_normal").kept


def test_signals_are_those_of_autograd(blobs):
    features, labels = blobs.train
    network = build_head({"hidden_features": [5, 4], "activation": "tanh"}, blobs, seed=0)
    found = signals_of(network, features, labels, "tanh")
    first = network.hidden[0](features.double()).detach().requires_grad_()
    logits = network.output(network.hidden[1](first))
    torch.nn.functional.cross_entropy(logits, labels).backward()
    assert found["output_std"][0] == pytest.approx(float(first.detach().std(correction=0)))
    assert found["gradient_std"][0] == pytest.approx(float(first.grad.std(correction=0)))


def test_a_signal_that_is_gone_has_no_ratio_to_fail_on():
    assert ratio([0.0, 0.0]) == 0.0
    assert ratio([1.0, math.nan]) == math.inf


def test_the_run_has_all_its_parts(blobs):
    finding = Initialization(width=8, depth=3, seeds=2).find(blobs)
    assert len(finding.rows) == 2 * 5 * 2 * 3
    assert "xavier_normal" in finding.number
    assert len(finding.figure.axes) == 2


def test_activations_can_be_others(blobs):
    finding = Initialization(("sigmoid", "gelu"), width=8, depth=2, seeds=1).find(blobs)
    assert "blows up gelu" in finding.text


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "holds"),
        ({("relu", "xavier_normal"): KEPT}, "holds in part"),
        ({("tanh", "normal 1"): KEPT}, "holds in part"),
        ({("relu", "kaiming_normal"): GONE}, "holds in part"),
    ],
)
def test_each_statement_is_judged(changes, verdict):
    found = statements(AS_CLAIMED | changes, small="normal 0.01", large="normal 1")
    assert len(found) == 7
    assert Judgement(found, {}).verdict == verdict


def test_a_claim_without_a_true_statement_does_not_hold():
    all_wrong = dict.fromkeys(AS_CLAIMED, Passage(1.0, 9.0, 0.0))
    found = statements(all_wrong, small="normal 0.01", large="normal 1")
    assert Judgement(found, {}).verdict == "does not hold here"


@pytest.mark.parametrize(("std", "kept"), [(0.34, True), (0.33, False), (3.0, True), (3.1, False)])
def test_a_signal_is_kept_within_a_factor_of_3(std, kept):
    assert Passage(std, 1.0, 0.0).kept == kept


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"activations": ("maxout",)}, "`activations` must be without"),
        ({"depth": 1}, "`depth` must be above 1"),
        ({"small": 2.0}, "small < middle < large"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        Initialization(**settings)
