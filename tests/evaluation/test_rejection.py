"""Risk over coverage, and the threshold for a target risk."""

import pytest
import torch
from sklearn.metrics import accuracy_score

from tltool.evaluation.rejection import MOST_POINTS, rejection_curve


@pytest.fixture
def found():
    """Confidences, and predictions that are right as often as these say."""
    generator = torch.Generator().manual_seed(0)
    confidence = 0.5 + 0.5 * torch.rand(4000, generator=generator)
    return confidence, torch.rand(4000, generator=generator) < confidence


def test_the_risk_is_the_error_of_what_is_accepted(found):
    confidence, correct = found
    curve = rejection_curve(confidence, correct)
    for at in (0, 70, 199):
        accepted = confidence >= curve.thresholds[at]
        assert curve.num_accepted[at] == int(accepted.sum())
        expected = 1 - accuracy_score(torch.ones(int(accepted.sum())), correct[accepted])
        assert curve.risk[at] == pytest.approx(expected)


def test_images_of_one_confidence_are_accepted_together():
    curve = rejection_curve(torch.tensor([0.5, 0.9, 0.5]), torch.tensor([False, True, True]))
    assert curve.num_accepted == [1, 3]


def test_a_curve_of_many_images_is_short_and_ends_with_all(found):
    curve = rejection_curve(*found)
    assert len(curve.thresholds) == MOST_POINTS
    assert curve.num_accepted[-1] == 4000


def test_the_area_is_the_mean_risk():
    curve = rejection_curve(torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([1, 0, 1, 0]) > 0)
    assert curve.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)


def test_what_a_threshold_accepts_is_wrong_at_most_as_often_as_asked(found):
    confidence, correct = found
    threshold = rejection_curve(confidence[:2000], correct[:2000]).threshold_for(0.15)
    others = confidence[2000:] >= threshold
    assert (~correct[2000:][others]).double().mean() < 0.15
    assert others.double().mean() > 0.3


def test_a_risk_that_the_images_cannot_show_is_refused(found):
    confidence, correct = found
    with pytest.raises(ValueError, match=r"No threshold shows a risk of 0\.001 on 300"):
        rejection_curve(confidence[:300], correct[:300]).threshold_for(0.001)
