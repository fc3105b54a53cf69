"""Relu units die."""

import math

import pytest
import torch

from tltool.comparison.training_settings import TrainingSettings
from tltool.lecture.dead_relu import DeadReLU
from tltool.lecture.table import where
from tltool.lecture.training import build_head, idle_after_training, idle_share, train_grid

EXPERIMENT = DeadReLU(lrs=(0.001, 0.1, 1.0))
ALIVE, DEAD = [[0.0, 0.0, 0.0]] * 3, [[0.0, 0.2, 0.5]] * 3


def rows(without, biased):
    """Rows of the share of dead units of each seed and learning rate, without and with a bias."""
    return [
        {"activation": "relu", "bias": bias, "lr": lr, "dead": seed[place]}
        for bias, table in ((0.0, without), (0.01, biased))
        for place, lr in enumerate(EXPERIMENT.lrs)
        for seed in table
    ]


def test_a_unit_is_dead_that_no_row_activates(blobs):
    head = build_head({"hidden_features": [4]}, blobs, seed=0)
    with torch.no_grad():
        head.hidden[0].linear.weight.zero_()
        head.hidden[0].linear.bias.copy_(torch.tensor([-1.0, 0.0, 1.0, 1.0]))
    assert idle_share(head, blobs.features) == 0.5


def test_a_unit_is_alive_that_one_row_activates(blobs):
    head = build_head({"hidden_features": [1]}, blobs, seed=0)
    features = torch.zeros(9, 8)
    features[4, 0] = 1.0
    with torch.no_grad():
        head.hidden[0].linear.weight.fill_(1.0)
    assert idle_share(head, features) == 0.0


def test_a_high_lr_kills_relu_units(blobs):
    experiment = DeadReLU(activations=("relu",), lrs=(1e-3, 4.0), width=16, epochs=3, seeds=2)
    found = experiment.run(blobs)
    assert max(row["dead"] for row in where(found, lr=1e-3)) < 0.1
    assert min(row["dead"] for row in where(found, lr=4.0)) > 0.3


def test_one_weight_that_is_no_number_is_enough_to_be_left_out(blobs):
    networks = [{"head": {"hidden_features": [4]}}]
    (row,) = train_grid(blobs, networks, [0.1], 1, TrainingSettings(epochs=1))
    row["run"].state["output.bias"][0] = math.nan
    assert math.isnan(idle_after_training(row, blobs))


@pytest.mark.parametrize(
    ("without", "biased", "verdict"),
    [
        (DEAD, [[0.0, 0.1, 0.2]] * 3, "holds"),
        (DEAD, DEAD, "holds in part"),
        ([[0.0, 0.0, 0.051]] * 3, DEAD, "holds in part"),
        ([[0.0, 0.0, 0.049]] * 3, DEAD, "does not hold here"),
        (DEAD, [[0.0, 0.3, 0.9]] * 3, "holds in part"),
        (ALIVE, ALIVE, "does not hold here"),
        ([*DEAD[:2], [0.0, 0.2, 0.02]], DEAD, "does not hold here"),
        ([[0.0, math.nan, math.nan]] * 3, ALIVE, "cannot be told here"),
    ],
)
def test_each_half_of_the_claim_is_judged(without, biased, verdict):
    assert EXPERIMENT.judge(rows(without, biased)).verdict == verdict


def test_an_lr_at_which_a_seed_diverged_is_not_judged():
    without = [[0.0, 0.2, 0.5], [0.0, 0.2, math.nan]]
    assert EXPERIMENT.judge(rows(without, without)).numbers["high"] == 0.1


def test_a_bias_that_helps_one_seed_alone_is_within_noise():
    biased = [[0.0, 0.2, 0.2], *DEAD[1:]]
    assert "spares units beyond noise: no" in str(EXPERIMENT.judge(rows(DEAD, biased)))


def test_the_run_has_all_its_parts(blobs):
    finding = DeadReLU(lrs=(0.001, 0.1, 1e30), width=8, epochs=1, seeds=2).find(blobs)
    assert len(finding.rows) == 3 * 2 * 3 * 2
    assert "relu units dead" in finding.number
    assert "diverged" in finding.text
    assert len(finding.figure.axes) == 1


@pytest.mark.parametrize(
    "settings", [{"activations": ("prelu",)}, {"activations": ("relu", "maxout")}]
)
def test_activations_without_relu_or_with_maxout_are_refused(settings):
    with pytest.raises(ValueError, match=r"`activations` must be holding .*The default is"):
        DeadReLU(**settings)


@pytest.mark.parametrize("settings", [{"bias": 0.0}, {"lrs": (0.1,)}])
def test_nothing_to_compare_is_refused(settings):
    with pytest.raises(ValueError, match=r"`(bias|lrs)` must be"):
        DeadReLU(**settings)
