"""The judgement on the cost of exp. Times themselves are not asserted on."""

from operator import call

import pytest

from tltool.lecture.exp_cost import ALONE, STEP, ExpCost, quartiles

TINY = ExpCost(
    activations=("tanh", "prelu", "elu"), rows=4, width=3, hidden_features=(4,), rounds=4
)


def rows(*, tanh, elu, step=1.0):
    """Rows of times of each round, as multiples of relu's."""
    return [
        {"activation": name, "timed": timed, **row}
        for name, factors in (("relu", [1.0] * 4), ("tanh", tanh), ("elu", elu))
        for timed, times in ((ALONE, factors), (STEP, [step] * 4))
        for row in quartiles(times, [1.0] * 4)
    ]


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
    assert "tanh over 1.2 times relu's time: no." in str(
        TINY.judge(rows(tanh=[1.0] * 4, elu=[3.0] * 4))
    )


def test_a_timed_pass_computes_the_gradients_of_inputs_and_slopes():
    of_inputs, of_slope = TINY.alone("prelu")()
    assert of_inputs.shape == (4, 3)
    assert of_slope.shape == (1,)


def test_a_timed_step_trains(blobs):
    losses = [float(each) for each in map(call, [TINY.step(blobs, "relu")] * 50)]
    assert losses[-1] < losses[0]


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.find(blobs)
    assert len(finding.rows) == 4 * 2 * 3
    assert len(finding.figure.axes) == 1


def test_a_batch_may_be_larger_than_the_data(blobs):
    assert ExpCost(batch_size=1000).step(blobs, "relu")() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activations": ("relu",)}, "computes an exponential"),
        ({"activations": ("relux",)}, "Did you mean 'relu'"),
        ({"rounds": 3}, "above 3"),
    ],
)
def test_settings_without_a_result_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ExpCost(**settings)
