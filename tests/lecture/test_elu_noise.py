"""ELU and noise in the inputs."""

import pytest
import torch

from tltool.comparison.training_settings import Recipe
from tltool.lecture.elu_noise import ELUNoise, judge
from tltool.lecture.training import tune

TINY = ELUNoise(noises=(0.5, 4.0), draws=2, width=8, rates=(0.03,), epochs=2, seeds=2)
CHANGES = {"elu": 0.5, "leaky_relu": 0.5}
RIGHT = torch.ones(3, 200, dtype=torch.float64)


def scores(clean, noisy):
    """Return the scores of a network that is right on the first rows only."""
    each = torch.stack([RIGHT, RIGHT])
    for place, accuracy in enumerate((clean, noisy)):
        each[place, :, round(accuracy * 200) :] = 0
    return each


def under_noise(problem, noises):
    head = TINY._head("elu")
    recipe = Recipe(epochs=5)
    tuned = tune(
        problem, {"elu": head}, rates=(0.1,), seeds=2, recipe=recipe, cost=lambda run: 0.0
    )["elu"]
    return tuned, *TINY.under_noise(problem, head, tuned, noises)


def test_without_noise_the_accuracy_is_that_of_training(blobs):
    tuned, scores, changes = under_noise(blobs.standardized(), (0.0,))
    assert scores[0].mean(dim=1).tolist() == pytest.approx(tuned.accuracies)
    assert changes.tolist() == [[0.0, 0.0]]


def test_more_noise_moves_the_hidden_layer_further(blobs):
    _, _, changes = under_noise(blobs.standardized(), (0.1, 1.0, 3.0))
    assert (changes.diff(dim=0) > 0).all()


def test_the_noise_of_a_seed_is_the_same_each_time(blobs):
    problem = blobs.standardized()
    first, second = (under_noise(problem, (0.5, 2.0)) for _ in range(2))
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize(
    ("elu", "leaky", "verdict"),
    [
        (scores(0.9, 0.8), scores(0.9, 0.6), "holds"),
        (scores(0.9, 0.8), scores(0.7, 0.6), "holds in part"),
        (scores(0.9, 0.8), scores(0.7, 0.595), "holds in part"),
        (scores(0.9, 0.6), scores(0.9, 0.8), "does not hold here"),
        (scores(0.9, 0.8), scores(0.9, 0.795), "cannot be told here"),
    ],
)
def test_the_verdict_goes_by_accuracy_under_noise_and_by_what_is_lost(elu, leaky, verdict):
    assert judge({"elu": elu, "leaky_relu": leaky}, 1.0, CHANGES)[0] == verdict


def test_the_difference_is_elu_less_leaky_relu():
    found = {"elu": scores(0.9, 0.8), "leaky_relu": scores(0.9, 0.6)}
    assert "elu less leaky relu: +20.0 points" in judge(found, 1.0, CHANGES)[1]


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.run(blobs)
    assert len(finding.rows) == 3 * 3 * 2  # Without noise too.
    assert "elu less leaky relu" in finding.number
    assert len(finding.figure.axes) == 3


def test_a_missing_half_of_the_comparison_is_refused():
    with pytest.raises(ValueError, match=r"Write \[leaky_relu, elu\]"):
        ELUNoise(activations=("relu", "elu"))


@pytest.mark.parametrize("noises", [(), (0.0,), (-1.0, 1.0)])
def test_no_noise_is_refused(noises):
    with pytest.raises(ValueError, match=r"Write \[0.0, 0.5, 1.0\]"):
        ELUNoise(noises=noises)
