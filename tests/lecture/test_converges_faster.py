"""Relu against sigmoid and tanh."""

import math
from dataclasses import replace

import pytest

from tltool.lecture.converges_faster import ConvergesFaster
from tltool.lecture.race import racers

TINY = ConvergesFaster(
    activations=("sigmoid", "relu"),
    hidden_features=(8,),
    lrs=(0.03, 0.3),
    target=0.3,
    epochs=8,
    batch_size=16,
    seeds=2,
)


def rows(**epochs):
    """Rows of networks that reach the target after so many epochs."""
    return [
        {"name": name, "target": 1.0, "training_loss": [2.0] * 40, "epochs_to_target": number}
        for name, number in epochs.items()
    ]


@pytest.mark.parametrize(
    ("epochs", "verdict"),
    [
        ({"sigmoid": 20, "tanh": 12, "relu": 2}, "holds"),
        ({"sigmoid": 20, "tanh": 3, "relu": 2}, "holds in part"),
        ({"sigmoid": 4, "tanh": 4, "relu": 2}, "holds"),
        ({"sigmoid": 3.9, "tanh": 2, "relu": 2}, "does not hold here"),
    ],
)
def test_the_claim_is_judged_on_twice_the_epochs(epochs, verdict):
    assert TINY.judge(rows(**epochs)).verdict == verdict


def test_the_ratio_of_tanh_stands_beside_the_claimed_one():
    numbers = TINY.judge(rows(tanh=10, relu=2)).numbers
    assert numbers["times"]["tanh"] == "5 (claimed: 6)"


def test_a_race_that_nobody_ends_tells_nothing():
    judgement = TINY.judge(rows(relu=math.inf, tanh=math.inf))
    assert judgement.verdict == "cannot be told here"
    assert f"{judgement.numbers['epochs']}" == "relu more than 40, tanh more than 40"


def test_each_activation_runs_at_the_lr_that_gets_it_there_first(blobs):
    slow, fast, both = (
        racers(replace(TINY, lrs=lrs, seeds=1).run(blobs))["sigmoid"]
        for lrs in ((0.003,), (0.1,), (0.003, 0.1))
    )
    assert slow.median > fast.median
    assert both.epochs == fast.epochs


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.find(blobs)
    assert len(finding.rows) == 2 * 2 * 8
    assert len(finding.figure.axes) == 1
    assert finding.figure.axes[0].get_legend_handles_labels()[1] == ["sigmoid", "relu"]
    assert "epochs to a training loss" in finding.number


def test_lrs_at_which_all_diverge_are_no_error(blobs):
    experiment = ConvergesFaster(hidden_features=(4,), lrs=(1e12,), epochs=2, seeds=1)
    assert experiment.find(blobs).verdict == "cannot be told here"


@pytest.mark.parametrize("activations", [("relu",), ("sigmoid", "tanh")])
def test_relu_and_something_to_compare_it_with_must_be_there(activations):
    with pytest.raises(ValueError, match=r"`activations` must be at least 2, holding"):
        ConvergesFaster(activations=activations)
