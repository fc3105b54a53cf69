"""Swish in deep networks."""

import math

import pytest
import torch

from tltool.evaluation.paired_differences import estimate_mean
from tltool.evaluation.paired_differences import judge as compare
from tltool.layers.gains import activation_gain
from tltool.lecture.swish_deep import Pair, SwishDeep, judge, log_loss_ratio
from tltool.lecture.training import Tuned, batch_size_for_norms, build_head

TINY = SwishDeep((1, 2), 4, (None, "batch"), rates=(0.01, 0.1), epochs=1, tuning_seeds=1, seeds=2)
DEEP, DEEPER = Pair(None, 8), Pair(None, 16)
GENERATOR = torch.Generator().manual_seed(0)
HALF = torch.rand(3, 400, generator=GENERATOR) < 0.5


def difference(share):
    """The difference of accuracy if swish is right, or wrong, in a further share of the rows."""
    swish = HALF.clone()
    swish[:, : int(abs(share) * 400)] = share > 0
    return compare({"silu": swish, "relu": HALF}, "relu")[0]


SAME = estimate_mean(torch.tensor([[0.1, -0.1, 0.0]]))
BETTER, WORSE, EQUAL = difference(0.5), difference(-0.5), difference(0.0)


@pytest.mark.parametrize(
    ("deep", "deeper", "verdict"),
    [
        (BETTER, BETTER, "holds"),
        (EQUAL, BETTER, "holds"),
        (BETTER, EQUAL, "holds in part"),
        (WORSE, BETTER, "holds in part"),
        (EQUAL, WORSE, "does not hold here"),
        (EQUAL, EQUAL, "does not hold here"),
    ],
)
def test_accuracy_in_depth_is_judged(deep, deeper, verdict):
    differences = {Pair(None, 2): WORSE, DEEP: deep, DEEPER: deeper}
    found, _, _ = judge(differences, dict.fromkeys(differences, SAME))
    assert found == verdict


def test_few_rows_cannot_tell():
    few = torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 2)
    unclear = compare({"silu": few, "relu": 1 - few}, "relu")[0]
    assert judge({DEEP: unclear}, {DEEP: SAME})[0] == "cannot be told here"


@pytest.mark.parametrize(("sign", "verdict"), [(-1, "holds"), (1, "does not hold here")])
def test_training_loss_counts_where_accuracy_is_equal(sign, verdict):
    ratio = estimate_mean(sign * torch.tensor([[1.0, 1.01, 0.99]]))
    assert judge({DEEP: EQUAL}, {DEEP: ratio})[0] == verdict


def test_a_network_that_diverged_has_no_loss_to_compare():
    run = Trained({}, [math.nan], [], math.nan, torch.ones(4), 0.0)
    both = {name: Tuned(0.1, False, [run, run]) for name in ("silu", "relu")}
    assert log_loss_ratio(both) is None
    assert "training loss diverged" in judge({DEEP: EQUAL}, {DEEP: None})[1]


def test_losses_that_are_worlds_apart_are_no_error():
    ratio = estimate_mean(torch.tensor([[-900.0, 900.0]]))
    assert "training loss x 1 (0 to inf)" in judge({DEEP: EQUAL}, {DEEP: ratio})[1]


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.run(blobs)
    assert len(finding.rows) == 2 * 2 * 2 * 2
    assert "batch norm" in finding.number
    assert len(finding.figure.axes) == 3


def test_both_activations_start_with_a_gain_of_their_own(blobs):
    heads = [{"hidden_features": [500], "activation": name} for name in ("silu", "relu")]
    silu, relu = (
        build_head(head, blobs, seed=0).first_linear.weight.detach().std() for head in heads
    )
    assert float(silu / relu) == pytest.approx(activation_gain("silu") / activation_gain("relu"))


@pytest.mark.parametrize(
    ("rows", "wanted", "size"), [(256, 128, 128), (257, 128, 127), (3, 2, 3), (90, 128, 128)]
)
def test_no_batch_is_a_single_row(rows, wanted, size):
    assert batch_size_for_norms(rows, wanted) == size


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match=r"Write \[2, 32\]"):
        SwishDeep(norms=())
