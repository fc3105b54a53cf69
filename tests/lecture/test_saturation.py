"""Saturated units kill gradients."""

import pytest

from tltool.lecture.saturation import Saturation

TINY = Saturation(depths=(2, 3), width=8, epochs=1, seeds=2)


def test_the_first_gradient_of_deep_sigmoid_is_below_a_thousandth_of_relus(blobs):
    experiment, problem = Saturation(width=32, seeds=1), blobs.standardized()
    (sigmoid,), (relu,) = (experiment.gradients(problem, name, 20) for name in ("sigmoid", "relu"))
    assert sigmoid[0] < 1e-3 * relu[0]


def test_sigmoids_gradient_shrinks_towards_the_input(blobs):
    (norms,) = Saturation(width=32, seeds=1).gradients(blobs.standardized(), "sigmoid", 10)
    assert norms[:10] == sorted(norms[:10])


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.run(blobs)
    assert len(finding.rows) == 3 * 2 * 2
    assert "sigmoid" in finding.number
    assert len(finding.figure.axes) == 2


def test_a_gradient_that_stays_is_said():
    losses = {(name, 3): [0.1] for name in TINY.activations}
    verdict, _, _ = TINY._judge({"sigmoid": 0.5, "tanh": 1.0, "relu": 1.0}, losses)
    assert verdict == "does not hold here"


@pytest.mark.parametrize("activations", [("relu",), ("sigmoid", "tanh")])
def test_there_must_be_something_to_compare(activations):
    with pytest.raises(ValueError, match="must be relu"):
        Saturation(activations=activations)
