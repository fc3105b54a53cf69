"""Saturated units kill gradients."""

import pytest
import torch

from tltool.lecture.saturation import Saturation
from tltool.lecture.training import build_head, gradients, mlp

TINY = Saturation(depths=(2, 3), width=8, epochs=1, seeds=2)


def norms_of(problem, activation, depth):
    """Norms of the gradients of each layer's weights."""
    problem = problem.standardized()
    network = build_head(mlp(32, depth, activation=activation), problem, seed=0)
    found = gradients(network, *problem.train)
    return [float(each.norm()) for each in found if each.ndim == 2]


def test_the_first_gradient_of_deep_sigmoid_is_below_a_thousandth_of_relus(blobs):
    assert norms_of(blobs, "sigmoid", 20)[0] < 1e-3 * norms_of(blobs, "relu", 20)[0]


def test_sigmoids_gradient_shrinks_towards_the_input(blobs):
    norms = norms_of(blobs, "sigmoid", 10)
    assert norms[:10] == sorted(norms[:10])


def test_gradients_are_those_of_autograd(blobs):
    head = build_head({"hidden_features": [8]}, blobs, seed=0)
    features, labels = blobs.train
    found = gradients(head, features, labels)
    torch.nn.functional.cross_entropy(head(features), labels).backward()
    torch.testing.assert_close(found, [each.grad for each in head.parameters()])


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.find(blobs)
    assert len(finding.rows) == 3 * 2 * (3 + 4)  # Layers of both depths.
    assert "sigmoid" in finding.number
    assert len(finding.figure.axes) == 2


@pytest.mark.parametrize(
    ("sigmoid", "tanh", "verdict"),
    [
        (0.0009, 0.0009, "holds"),
        (0.0009, 0.0011, "holds in part"),
        (0.5, 1.0, "does not hold here"),
    ],
)
def test_a_gradient_is_killed_below_a_thousandth(sigmoid, tanh, verdict):
    first = {"sigmoid": sigmoid, "tanh": tanh, "relu": 1.0}
    rows = [
        {"activation": name, "is_deepest": True, "training_loss": 0.1, "gradient": [norm]}
        for name, norm in first.items()
    ]
    assert TINY.judge(rows).verdict == verdict


@pytest.mark.parametrize("activations", [("relu",), ("sigmoid", "tanh")])
def test_there_must_be_something_to_compare(activations):
    with pytest.raises(ValueError, match="`activations` must be at least 2, holding"):
        Saturation(activations=activations)
