"""Relu units die."""

import math

import pytest
import torch

from tltool.comparison.training_settings import Recipe
from tltool.lecture.dead_relu import DeadReLU, _life, dead_share, judge
from tltool.lecture.pictures import draw_series, new_figure
from tltool.lecture.training import Trial, build_head, train_trials

RATES = (0.001, 0.1, 1.0)
ALIVE, DEAD = [[0.0, 0.0, 0.0]] * 3, [[0.0, 0.2, 0.5]] * 3


def test_a_unit_is_dead_that_no_row_activates(blobs):
    head = build_head({"hidden_features": [4]}, blobs, seed=0)
    with torch.no_grad():
        head.hidden[0].linear.weight.zero_()
        head.hidden[0].linear.bias.copy_(torch.tensor([-1.0, 0.0, 1.0, 1.0]))
    assert dead_share(head, blobs.features) == 0.5


def test_a_unit_is_alive_that_one_row_activates(blobs):
    head = build_head({"hidden_features": [1]}, blobs, seed=0)
    features = torch.zeros(9, 8)
    features[4, 0] = 1.0
    with torch.no_grad():
        head.hidden[0].linear.weight.fill_(1.0)
    assert dead_share(head, features) == 0.0


def test_a_large_rate_kills_relu_units(blobs):
    experiment = DeadReLU(activations=("relu",), width=16, epochs=3, seeds=2)
    (low, high), _ = experiment.lives(blobs.standardized(), (1e-3, 4.0)).values()
    assert max(life.dead for life in low) < 0.1
    assert min(life.dead for life in high) > 0.3


def test_a_network_that_diverged_is_left_out(blobs):
    experiment = DeadReLU(activations=("relu",), width=8, epochs=1, seeds=1)
    lives = experiment.lives(blobs.standardized(), (1e30,))
    assert math.isnan(lives["relu", 0.0][0][0].dead)


def test_one_weight_that_is_no_number_is_enough_to_be_left_out(blobs):
    trial = Trial({"hidden_features": [4]}, 0, 0.1)
    (run,) = train_trials(blobs, [trial], recipe=Recipe(epochs=1))
    run.state["output.bias"][0] = math.nan
    assert math.isnan(_life(blobs, trial, run).dead)


def test_a_seed_that_diverged_leaves_the_mean_to_the_others():
    _, (axes,) = new_figure()
    draw_series(axes, [1, 2, 3], [[0, 1, math.nan], [2, math.nan, math.nan]], label="", number=0)
    assert axes.lines[0].get_ydata().tolist() == [1.0, 1.0, None]


def test_prelu_learns_a_slope_in_each_layer(blobs):
    experiment = DeadReLU(activations=("relu", "prelu"), width=8, epochs=1, seeds=1)
    (life,) = experiment.lives(blobs.standardized(), (0.01,))["prelu", 0.0][0]
    assert len(life.slopes) == 2
    assert 0.25 not in life.slopes


@pytest.mark.parametrize(
    ("without", "biased", "verdict"),
    [
        (DEAD, [[0.0, 0.1, 0.2]] * 3, "holds"),
        (DEAD, DEAD, "holds in part"),
        (DEAD, [[0.0, 0.3, 0.9]] * 3, "holds in part"),
        (ALIVE, ALIVE, "does not hold here"),
        ([*DEAD[:2], [0.0, 0.2, 0.02]], DEAD, "does not hold here"),
        ([[0.0, math.nan, math.nan]] * 3, ALIVE, "cannot be told here"),
    ],
)
def test_each_half_of_the_claim_is_judged(without, biased, verdict):
    assert judge(RATES, without, biased, 0.01, (0.0, 0.0))[0] == verdict


def test_a_rate_at_which_a_seed_diverged_is_not_judged():
    without = [[0.0, 0.2, 0.5], [0.0, 0.2, math.nan]]
    _, number, _ = judge(RATES, without, without, 0.01, (0.0, 0.0))
    assert "dead at the rate 0.1: 20%" in number


def test_a_bias_that_helps_one_seed_alone_is_within_noise():
    biased = [[0.0, 0.2, 0.2], *DEAD[1:]]
    assert "beyond noise" in judge(RATES, DEAD, biased, 0.01, (0.0, 0.0))[2]


def test_the_run_has_all_its_parts(blobs):
    finding = DeadReLU(rates=(0.001, 0.1, 1e30), width=8, epochs=1, seeds=2).run(blobs)
    assert len(finding.rows) == 3 * 2 * 3 * 2
    assert "relu units dead" in finding.number
    assert "prelu learned slopes" in finding.text
    assert "diverged" in finding.text
    assert len(finding.figure.axes) == 3


def test_relu_alone_needs_no_panel_of_slopes(blobs):
    experiment = DeadReLU(activations=("relu",), rates=(0.001, 0.1), width=8, epochs=1, seeds=1)
    assert len(experiment.run(blobs).figure.axes) == 2


@pytest.mark.parametrize(
    "settings", [{"activations": ("prelu",)}, {"activations": ("relu", "maxout")}]
)
def test_activations_without_relu_or_with_maxout_are_refused(settings):
    with pytest.raises(ValueError, match=r"Write \[relu, prelu\]"):
        DeadReLU(**settings)


@pytest.mark.parametrize("settings", [{"bias": 0.0}, {"rates": (0.1,)}])
def test_nothing_to_compare_is_refused(settings):
    with pytest.raises(ValueError, match=r"rates \[0.001, 0.1\]"):
        DeadReLU(**settings)
