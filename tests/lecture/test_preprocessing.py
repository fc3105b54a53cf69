"""Zero-center and normalize the data."""

import math

import pytest
import torch

from tltool.lecture.preprocessing import Learned, Preprocessing, judge, preprocessed
from tltool.lecture.wrong_preprocessing import SCALES, Probed

TINY = Preprocessing(hidden_features=(8,), rates=(1e-4, 0.1), epochs=2, seeds=2)
RIGHT, HALF = torch.ones(1, 40, dtype=torch.bool), torch.arange(40)[None] % 2 == 0


def probed(wrong=HALF):
    """The backbone's part: right with its own preprocessing, otherwise as given."""
    correct = dict.fromkeys(SCALES, wrong) | {"its own": RIGHT}
    return Probed(correct, list(range(40)), 0.5)


def learned(raw=4.0, standardized=2.0, whitened=RIGHT, whitened_against=RIGHT):
    """What was learned, by epochs to the target and by what is right."""

    def each(epochs, correct):
        return Learned(0.1, [epochs, epochs], [[1.0], [1.0]], correct.expand(2, -1))

    return {
        "as given": each(raw, RIGHT),
        "standardized": each(standardized, whitened_against),
        "whitened": each(2.0, whitened),
    }


def test_the_norms_are_fitted_on_the_training_rows(blobs):
    train = preprocessed(blobs)["standardized"][blobs.split.train]
    assert train.mean(dim=0).abs().max() < 1e-5
    assert (train.std(dim=0, correction=0) - 1).abs().max() < 1e-5


def test_only_features_from_0_to_1_are_tried_as_pixels(blobs):
    assert "0 to 255" not in preprocessed(blobs)
    pixels = blobs.with_features(blobs.features / blobs.features.max() * (blobs.features > 0))
    assert preprocessed(pixels)["0 to 255"].max() == 255


def test_centered_features_learn_before_features_far_from_zero(blobs):
    experiment = Preprocessing(hidden_features=(8,), rates=(0.001, 0.01, 0.1, 1.0), epochs=5)
    far = blobs.with_features(blobs.features + 20)
    features = preprocessed(far)
    times = [
        experiment.learn(far.with_features(features[name]), 0.5).epochs
        for name in ("as given", "centered")
    ]
    assert min(times[0]) > max(times[1])


def test_a_rate_that_diverges_is_not_chosen(blobs):
    experiment = Preprocessing(hidden_features=(8,), rates=(0.1, 1e9), epochs=2, seeds=1)
    assert experiment.learn(blobs.standardized(), 0.1).rate == 0.1


@pytest.mark.parametrize(
    ("found", "backbone", "verdict"),
    [
        (learned(), probed(), "holds"),
        (learned(), probed(RIGHT), "holds in part"),
        (learned(raw=2.0), probed(), "holds in part"),
        (learned(whitened_against=HALF), probed(), "holds in part"),
        (learned(raw=2.0), probed(RIGHT), "does not hold here"),
        (learned(raw=math.inf, standardized=math.inf), probed(RIGHT), "cannot be told here"),
    ],
)
def test_speed_whitening_and_the_backbone_decide_the_verdict(found, backbone, verdict):
    assert judge(found, backbone, 0.2)[0] == verdict


def test_a_difference_within_noise_is_said_to_be():
    one_less = RIGHT.clone()
    one_less[0, 0] = False
    _, number, text = judge(learned(), probed(one_less), 0.2)
    assert "0 to 1 -0.025 +- 0.051 (within noise)" in number
    assert "nothing that can be told from noise" in text


def test_a_loss_that_is_not_reached_is_said():
    assert "as given never" in judge(learned(raw=math.inf), probed(), 0.2)[1]


@pytest.mark.parametrize(
    ("name", "value"), [("rates", (1.0, 0.1)), ("share", 1.0), ("test_photos", 1)]
)
def test_a_bad_value_is_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        Preprocessing(**{name: value})


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.conclude(blobs, probed())
    assert len(finding.rows) == 4 * 2 + 3
    assert len({tuple(row) for row in finding.rows}) == 1
    assert "its own" in finding.number
    assert len(finding.figure.axes) == 3
