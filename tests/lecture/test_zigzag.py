"""How the weights of a unit move."""

import math

import pytest
import torch

from tltool.lecture.training import build_head
from tltool.lecture.zigzag import Mechanism, equal_signs, turns, walks

SMALL = {"hidden_features": [8], "activation": "tanh"}


@pytest.fixture
def network(blobs):
    return build_head(SMALL, blobs, seed=0)


def test_positive_inputs_give_the_weights_of_a_unit_gradients_of_one_sign(blobs, network):
    features, labels = blobs.train
    assert features.min() > 0
    assert equal_signs(network, features[:10], labels[:10]) == 1


def test_inputs_of_both_signs_do_not(blobs, network):
    generator = torch.Generator().manual_seed(0)
    share = equal_signs(network, torch.randn(40, 8, generator=generator), blobs.labels[:40])
    assert 0.4 < share < 0.6


def test_gradients_of_zero_make_no_pair(blobs, network):
    assert math.isnan(equal_signs(network, torch.eye(8), blobs.labels[:8]))


def test_small_steps_go_straight_on_and_large_ones_back(blobs, network):
    features, labels = blobs.train
    small, large = (turns(network, features, labels, rate=r, steps=6) for r in (1e-3, 0.5))
    assert len(small) == 5
    assert min(small) > 0.99
    assert min(large) < -0.5


def test_a_step_of_nothing_has_no_direction(blobs, network):
    features, labels = blobs.train
    cosines = turns(network, 0 * features, labels, rate=0.1, steps=3)
    assert math.isnan(Mechanism(1.0, [cosines]).cosine)


def test_the_mean_cosine_leaves_out_what_is_no_number():
    assert Mechanism(1.0, [[0.5, math.nan], [1.0, 0.0]]).cosine == 0.5


def test_positive_inputs_move_two_weights_both_up_or_both_down(blobs, network):
    features, labels = blobs.train
    features = features / 10  # Saturated units would stay.
    steps = walks(network, features[:20], labels[:20], rate=0.05, inputs=(0, 3)).diff(dim=1)
    assert (steps[..., 0] * steps[..., 1] > 0).all()


def test_a_walk_is_what_the_optimizer_does(blobs, network):
    features, labels = blobs.train
    path = walks(network, features[:5], labels[:5], rate=0.1, inputs=(2, 1))
    weight = network.hidden[0].linear.weight
    start = weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for row, label in zip(features[:5], labels[:5], strict=True):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(row[None]), label[None]).backward()
        optimizer.step()
    torch.testing.assert_close(path[:, -1], (weight - start)[:, [2, 1]].detach())
    assert torch.equal(path[:, 0], torch.zeros(8, 2))
