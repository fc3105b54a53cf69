"""The judgement on the cost of exp. Times themselves are not asserted on."""

import pytest
import torch

from tltool.lecture.exp_cost import ExpCost, columns, time_passes, time_step

TINY = ExpCost(
    activations=("tanh", "prelu", "elu"), rows=4, width=3, hidden_features=(4,), rounds=4
)


def rows(*, tanh, elu, step=1.0):
    """Rows of times of each round, as multiples of relu's."""
    relu = torch.ones(3, 4)
    found = {"relu": relu} | {
        name: torch.tensor([factors, factors, [step] * 4])
        for name, factors in (("tanh", tanh), ("elu", elu))
    }
    return [{"activation": name, **columns(each, relu)} for name, each in found.items()]


@pytest.mark.parametrize(
    ("tanh", "elu", "verdict"),
    [
        ([2.0] * 4, [3.0] * 4, "holds"),
        ([1.21] * 4, [1.21] * 4, "holds"),
        ([1.0] * 4, [3.0] * 4, "holds in part"),
        ([0.9, 0.9, 2.0, 2.0], [1.1] * 4, "does not hold here"),
    ],
)
def test_the_claim_is_judged_on_three_quarters_of_the_rounds(tanh, elu, verdict):
    assert TINY.judge(rows(tanh=tanh, elu=elu)).verdict == verdict


def test_those_that_are_not_dear_are_told():
    assert "not tanh, elu." in str(TINY.judge(rows(tanh=[1.0] * 4, elu=[3.0] * 4)))


def test_a_timed_pass_leaves_no_gradient():
    inputs = torch.randn(2, 3, requires_grad=True)
    module = torch.nn.PReLU()
    assert min(time_passes(module, inputs, torch.ones(2, 3))) > 0
    assert inputs.grad is None
    assert module.weight.grad is None


def test_a_timed_step_trains(blobs):
    network, optimizer = TINY.network(blobs, "relu")
    before = network.output.weight.detach().clone()
    time_step(network, optimizer, *blobs.train)
    assert not torch.equal(network.output.weight, before)


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.find(blobs)
    assert [row["activation"] for row in finding.rows] == ["relu", "tanh", "prelu", "elu"]
    assert len(finding.figure.axes) == 2


def test_a_batch_larger_than_the_data_repeats_rows(blobs):
    assert len(ExpCost(batch_size=1000).batch(blobs)[0]) == 1000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activations": ("relu",)}, "computes an exponential"),
        ({"activations": ("relux",)}, "Did you mean 'relu'"),
        ({"rounds": 3}, "at least 4"),
    ],
)
def test_settings_without_a_result_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ExpCost(**settings)
