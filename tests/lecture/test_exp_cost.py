"""The judgement on the cost of exp. Times themselves are not asserted on."""

import pytest
import torch

from tltool.lecture.exp_cost import ExpCost, Times
from tltool.lecture.timing import Step, time_passes
from tltool.lecture.training import build_head

TINY = ExpCost(
    activations=("tanh", "prelu", "elu"), rows=4, width=3, hidden_features=(4,), rounds=4
)


def times(*, tanh, elu, step=1.0):
    """Times of each round, as multiples of relu's."""
    factors = {"relu": [1.0] * 4, "tanh": tanh, "elu": elu}
    return {
        name: Times(each, each, [1.0 if name == "relu" else step] * 4)
        for name, each in factors.items()
    }


@pytest.mark.parametrize(
    ("tanh", "elu", "verdict"),
    [
        ([2.0] * 4, [3.0] * 4, "holds"),
        ([1.0] * 4, [3.0] * 4, "holds in part"),
        ([0.9, 0.9, 2.0, 2.0], [1.1] * 4, "does not hold here"),
    ],
)
def test_the_claim_is_judged_on_three_quarters_of_the_rounds(tanh, elu, verdict):
    assert TINY.judge(times(tanh=tanh, elu=elu), 64)[0] == verdict


@pytest.mark.parametrize(("step", "advice"), [(1.05, "by its accuracy"), (2.0, "is felt")])
def test_the_advice_goes_by_the_whole_step(step, advice):
    assert advice in TINY.judge(times(tanh=[2.0] * 4, elu=[3.0] * 4, step=step), 64)[2]


def test_those_that_are_not_dear_are_told():
    text = TINY.judge(times(tanh=[1.0] * 4, elu=[3.0] * 4), 64)[2]
    assert "beyond noise, tanh:" in text


def test_a_timed_pass_leaves_no_gradient():
    inputs = torch.randn(2, 3, requires_grad=True)
    module = torch.nn.PReLU()
    assert min(time_passes(module, inputs, torch.ones(2, 3))) > 0
    assert inputs.grad is None
    assert module.weight.grad is None


def test_a_timed_step_trains(blobs):
    network = build_head({"hidden_features": [4]}, blobs, seed=0)
    before = network.output.weight.detach().clone()
    Step(network, *blobs.train).time()
    assert not torch.equal(network.output.weight, before)


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.run(blobs)
    assert [row["activation"] for row in finding.rows] == ["relu", "tanh", "prelu", "elu"]
    assert len(finding.figure.axes) == 2
    assert [row["computes_exp"] for row in finding.rows] == [False, True, False, True]


def test_a_batch_larger_than_the_data_repeats_rows(blobs):
    step = ExpCost(batch_size=1000)._step(blobs, "relu")
    assert len(step.features) == 1000


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
