"""Features that are not zero-centered."""

import math

import pytest
import torch

from tltool.lecture.race import Racer
from tltool.lecture.zero_centered import CENTERED, ZeroCentered
from tltool.lecture.zigzag import Mechanism

TINY = ZeroCentered(
    shifts=(5.0,), width=8, rates=(0.1, 0.5), epochs=6, batch_size=32, steps=4, seeds=2
)


def judged(epochs, cosines):
    """The verdict on a shift that takes so many epochs, beside 2, and turns so, beside 1."""
    losses = {CENTERED: [2.0, 1.0, 0.5], "x": [2.0] * (epochs - 1) + [1.0]}
    racers = {name: Racer(name, 0.1, False, [each], 1.0) for name, each in losses.items()}
    mechanisms = {CENTERED: Mechanism(0.5, [[1.0]]), "x": Mechanism(1.0, [cosines])}
    return TINY.judge(racers, mechanisms)[0]


@pytest.mark.parametrize(
    ("epochs", "cosine", "verdict"),
    [
        (8, -0.5, "holds"),
        (8, 0.9, "holds in part"),
        (2, -0.5, "holds in part"),
        (2, 0.9, "does not hold here"),
        (2, math.nan, "does not hold here"),
    ],
)
def test_the_claim_is_judged_on_slowness_and_on_turns(epochs, cosine, verdict):
    assert judged(epochs, [cosine]) == verdict


def test_a_race_that_nobody_ends_tells_nothing():
    names = (CENTERED, "x")
    never = {name: Racer(name, 0.1, False, [[2.0, 2.0]], 1.0) for name in names}
    mechanisms = {name: Mechanism(0.5, [[1.0]]) for name in names}
    assert TINY.judge(never, mechanisms)[0] == "cannot be told here"


def test_variants_differ_by_their_mean_alone(blobs):
    variants = TINY.variants(blobs)
    assert list(variants) == [CENTERED, "x", "x - mean + 5"]
    centered, plain, far = (variant.train[0] for variant in variants.values())
    assert centered.square().mean() == pytest.approx(1.0)
    torch.testing.assert_close(plain - plain.mean(dim=0), centered, atol=1e-5, rtol=0)
    torch.testing.assert_close(far - 5, centered, atol=1e-5, rtol=0)


def test_all_variants_start_as_one_function(blobs):
    variants = TINY.variants(blobs)
    logits = [TINY.network(each, seed=1)(each.features) for each in variants.values()]
    torch.testing.assert_close(logits[1], logits[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(logits[2], logits[0], atol=1e-4, rtol=0)


def test_far_features_turn_where_centered_ones_go_straight_on(blobs):
    centered, *_, far = TINY.variants(blobs).values()
    straight, turning = (TINY.mechanism(each, rate=0.3) for each in (centered, far))
    assert turning.cosine < straight.cosine - 0.5
    assert turning.equal_signs > straight.equal_signs


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.run(blobs)
    assert len(finding.rows) == 3 * 2 * 6
    assert len(finding.figure.axes) == 3
    assert "x - mean + 5 100 %" in finding.text


def test_one_feature_is_no_error(blobs):
    assert TINY.run(blobs.with_features(blobs.features[:, :1])).rows


def test_a_shift_of_zero_is_refused():
    with pytest.raises(ValueError, match="in any case"):
        ZeroCentered(shifts=(0.0, 1.0))
