"""Prediction sets hold the class as often as asked, and say where they cannot."""

import pytest
import torch

from tltool.evaluation.prediction_sets import ConformalScores, SetCounts, prediction_sets

WEIGHTS = torch.tensor([0.2, 1.0, 2.0])


def draw(number, seed):
    """Return probabilities of three classes, of which the third is hard, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 3
    noise = WEIGHTS[labels][:, None] * torch.randn(number, 3, generator=generator)
    return (3 * torch.eye(3)[labels] * 0.5 + noise).softmax(dim=1), labels


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_coverage_over_draws_is_the_asked_one(coverage):
    covered = []
    for seed in range(40):
        known = ConformalScores.of(*draw(99, seed))
        probabilities, labels = draw(300, 1000 + seed)
        sets = 1 - probabilities <= known.thresholds(coverage, 3)
        covered.append(SetCounts.of(sets, labels).coverage)
    assert sum(covered) / 40 == pytest.approx(coverage, abs=0.015)


def test_by_class_the_hard_class_is_covered_too():
    known = ConformalScores.of(*draw(3000, 0))
    probabilities, labels = draw(3000, 1)
    found = {
        by_class: SetCounts.of(
            prediction_sets(probabilities, known.thresholds(0.9, 3, by_class=by_class)), labels
        ).class_coverage[2]
        for by_class in (False, True)
    }
    assert found[False] < 0.85 < 0.88 < found[True]


def test_a_set_is_never_empty():
    sets = prediction_sets(torch.tensor([[0.4, 0.35, 0.25]]), torch.full((3,), 0.1))
    assert sets.tolist() == [[True, False, False]]


def test_a_class_with_too_few_images_is_in_every_set():
    known = ConformalScores.of(torch.eye(2)[[0] * 20 + [1] * 3], torch.tensor([0] * 20 + [1] * 3))
    thresholds = known.thresholds(0.9, 2, by_class=True)
    assert prediction_sets(torch.tensor([[1.0, 0.0]]), thresholds).tolist() == [[True, True]]


@pytest.mark.parametrize(
    ("coverage", "message"), [(0.99, "at least 99.*there are 30.*0.96"), (1.0, "below 1, got 1")]
)
def test_a_coverage_that_cannot_be_promised_is_refused(coverage, message):
    with pytest.raises(ValueError, match=message):
        ConformalScores(torch.rand(30), torch.zeros(30).long()).thresholds(coverage, 2)
