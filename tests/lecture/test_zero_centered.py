"""Features that are not zero-centered."""

import math

import pytest
import torch

from tltool.lecture.training import build_head, gradients
from tltool.lecture.zero_centered import (
    CENTERED,
    ZeroCentered,
    descend,
    equal_signs,
    take_back_,
    turns,
)

SMALL = {"hidden_features": [8], "activation": "tanh"}
TINY = ZeroCentered(
    shifts=(5.0,), width=8, lrs=(0.1, 0.5), epochs=6, batch_size=32, steps=4, seeds=2
)


def rows(epochs, cosine, reached=True):
    """Rows of a shift that takes so many epochs, beside 2, and turns so, beside 1."""
    found = {CENTERED: (2.0, 1.0), "x": (epochs, cosine)}
    return [
        {"name": name, "target": 0.2, "training_loss": [1.0] * 40, "equal_signs": 1.0}
        | {"epochs_to_target": number if reached else math.inf, "mean_cosine": turn}
        for name, (number, turn) in found.items()
    ]


@pytest.mark.parametrize(
    ("epochs", "cosine", "verdict"),
    [
        (8, -0.5, "holds"),
        (3, 0.5, "holds"),
        (2.9, 0.51, "does not hold here"),
        (8, 0.9, "holds in part"),
        (2, -0.5, "holds in part"),
        (2, 0.9, "does not hold here"),
        (2, math.nan, "does not hold here"),
    ],
)
def test_the_claim_is_judged_on_slowness_and_on_turns(epochs, cosine, verdict):
    assert TINY.judge(rows(epochs, cosine)).verdict == verdict


def test_a_race_that_nobody_ends_tells_nothing():
    assert TINY.judge(rows(2, 1.0, reached=False)).verdict == "cannot be told here"


def test_variants_differ_by_their_mean_alone(blobs):
    variants = TINY.variants(blobs)
    assert list(variants) == [CENTERED, "x", "x - mean + 5"]
    centered, plain, far = (variant.train[0] for variant in variants.values())
    assert centered.square().mean() == pytest.approx(1.0)
    torch.testing.assert_close(plain - plain.mean(dim=0), centered, atol=1e-5, rtol=0)
    torch.testing.assert_close(far - 5, centered, atol=1e-5, rtol=0)


def test_all_variants_start_as_one_function(blobs):
    variants = TINY.variants(blobs)
    heads = [build_head(SMALL, each, seed=1) for each in variants.values()]
    logits = [
        take_back_(head, each.train[0].mean(dim=0))(each.features)
        for head, each in zip(heads, variants.values(), strict=True)
    ]
    torch.testing.assert_close(logits[1], logits[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(logits[2], logits[0], atol=1e-4, rtol=0)


def test_far_features_turn_where_centered_ones_go_straight_on(blobs):
    centered, *_, far = TINY.variants(blobs).values()
    networks = (
        take_back_(build_head(SMALL, each, seed=0), each.train[0].mean(dim=0))
        for each in (centered, far)
    )
    straight, turning = (
        turns(descend(network, *each.train, lr=0.3, steps=4)).mean()
        for network, each in zip(networks, (centered, far), strict=True)
    )
    assert turning < straight - 0.5


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.find(blobs)
    assert len(finding.rows) == 3 * 2 * 6
    assert len(finding.figure.axes) == 2
    assert "x - mean + 5: 100%" in finding.text


def test_one_feature_is_no_error(blobs):
    assert TINY.find(blobs.with_features(blobs.features[:, :1])).rows


def test_a_shift_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"`shifts` must be .*without"):
        ZeroCentered(shifts=(0.0, 1.0))


@pytest.fixture
def network(blobs):
    return build_head(SMALL, blobs, seed=0)


def test_positive_inputs_give_the_weights_of_a_unit_gradients_of_one_sign(blobs, network):
    features, labels = blobs.train
    assert features.min() > 0
    assert equal_signs(features) == 1
    signs = gradients(network, features[:1], labels[:1])[0].sign()
    assert torch.equal(signs, signs[:, :1].expand_as(signs))


def test_inputs_of_both_signs_do_not():
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    assert 0.4 < equal_signs(features) < 0.6


def test_gradients_of_zero_make_no_pair():
    assert math.isnan(equal_signs(torch.eye(8)))


def test_small_steps_go_straight_on_and_large_ones_back(blobs, network):
    small, large = (turns(descend(network, *blobs.train, lr=lr, steps=6)) for lr in (1e-3, 0.5))
    assert len(small) == 5
    assert small.min() > 0.99
    assert large.min() < -0.5


def test_a_step_of_nothing_has_no_direction(blobs, network):
    features, labels = blobs.train
    assert turns(descend(network, 0 * features, labels, lr=0.1, steps=3)).isnan().all()


def test_descending_is_what_the_optimizer_does(blobs, network):
    features, labels = blobs.train
    found = descend(network, features, labels, lr=0.1, steps=5)
    weight = network.hidden[0].linear.weight
    start = weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(features), labels).backward()
        optimizer.step()
    torch.testing.assert_close(-0.1 * found.sum(dim=0), (weight - start).detach())
