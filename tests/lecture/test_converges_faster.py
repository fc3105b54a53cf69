"""Relu against sigmoid and tanh."""

import math
from dataclasses import replace

import pytest

from tltool.lecture.converges_faster import ConvergesFaster
from tltool.lecture.race import Racer

TINY = ConvergesFaster(
    activations=("sigmoid", "relu"),
    hidden_features=(8,),
    rates=(0.03, 0.3),
    target=0.3,
    epochs=8,
    batch_size=16,
    seeds=2,
)


def racers(**epochs):
    """Racers that reach the target after so many whole epochs."""
    losses = {name: [2.0] * (number - 1) + [1.0] + [0.5] * 40 for name, number in epochs.items()}
    return {name: Racer(name, 0.1, False, [each[:40]], 1.0) for name, each in losses.items()}


@pytest.mark.parametrize(
    ("epochs", "verdict"),
    [
        ({"sigmoid": 20, "tanh": 12, "relu": 2}, "holds"),
        ({"sigmoid": 20, "tanh": 3, "relu": 2}, "holds in part"),
        ({"sigmoid": 3, "tanh": 2, "relu": 2}, "does not hold here"),
    ],
)
def test_the_claim_is_judged_on_twice_the_epochs(epochs, verdict):
    assert TINY.judge(racers(**epochs))[0] == verdict


def test_the_ratio_of_tanh_stands_beside_the_claimed_one():
    assert "tanh 5 (claimed: 6)" in TINY.judge(racers(tanh=10, relu=2))[1]


def test_a_race_that_nobody_ends_tells_nothing():
    never = {name: Racer(name, 0.1, False, [[2.0, math.nan]], 1.0) for name in ("relu", "tanh")}
    verdict, number, text = TINY.judge(never)
    assert verdict == "cannot be told here"
    assert "more than 2" in number
    assert "more `epochs`" in text


def test_each_activation_runs_at_the_rate_that_gets_it_there_first(blobs):
    problem = blobs.standardized()
    slow, fast = (replace(TINY, rates=(rate,), seeds=1).race(problem) for rate in (0.003, 0.1))
    chosen = replace(TINY, rates=(0.003, 0.1), seeds=1).race(problem)
    assert slow["sigmoid"].median > fast["sigmoid"].median
    assert chosen["sigmoid"].epochs == fast["sigmoid"].epochs


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.run(blobs)
    assert len(finding.rows) == 2 * 2 * 8
    assert len(finding.figure.axes) == 2
    assert [each.get_text() for each in finding.figure.axes[1].get_yticklabels()] == [
        "sigmoid",
        "relu",
    ]
    assert "epochs to a training loss" in finding.number


def test_rates_at_which_all_diverge_are_no_error(blobs):
    experiment = ConvergesFaster(hidden_features=(4,), rates=(1e12,), epochs=2, seeds=1)
    assert experiment.run(blobs).verdict == "cannot be told here"


@pytest.mark.parametrize("activations", [("relu",), ("sigmoid", "tanh")])
def test_relu_and_something_to_compare_it_with_must_be_there(activations):
    with pytest.raises(ValueError, match=r"For example \[tanh, relu\]"):
        ConvergesFaster(activations=activations)
