"""Experiments: their prose and the limits of their settings."""

import pytest

from tltool.lecture.catalog import EXPERIMENTS
from tltool.lecture.claim import CLAIMS
from tltool.lecture.converges_faster import ConvergesFaster
from tltool.lecture.saturation import Saturation


def test_the_prose_is_that_of_the_experiments_in_their_order():
    assert list(CLAIMS) == [experiment.name() for experiment in EXPERIMENTS]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_each_claim_has_all_its_prose(experiment):
    assert set(CLAIMS[experiment.name()]) == {"title", "claim", "source", "shows", "number", "text"}


def test_the_picture_has_one_or_two_panels():
    assert {len(experiment.panels) for experiment in EXPERIMENTS} == {1, 2}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lrs": ()}, r"`lrs` must be above 0; got \(\)\. The default is \(0\.01"),
        ({"lrs": (0.1, 0.0)}, "`lrs` must be above 0"),
        ({"seeds": 0}, "`seeds` must be above 0; got 0. The default is 3."),
        ({"target": 1.5}, "`target` must be above 0, below 1"),
        ({"activations": ("tanh", "elu")}, "`activations` must be at least 2, holding"),
    ],
)
def test_settings_without_a_result_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        ConvergesFaster(**setting)


def test_lists_from_a_configuration_are_taken():
    assert Saturation(activations=["tanh", "relu"]).activations == ["tanh", "relu"]
