"""Swish in deep networks."""

import math

import pytest
import torch

from tltool.layers.gains import activation_gain
from tltool.lecture.swish_deep import SwishDeep, batch_size_for_norms, compare_pair
from tltool.lecture.training import build_head

TINY = SwishDeep((1, 2), 4, (None, "batch"), lrs=(0.01, 0.1), epochs=1, tuning_seeds=1, seeds=2)
EXPERIMENT = SwishDeep(depths=(2, 8, 16), norms=(None,))
HALF = torch.rand(3, 400, generator=torch.Generator().manual_seed(0)) < 0.5
SAME = (1.0, 1.1, 0.9)
BETTER, WORSE, EQUAL = 0.5, -0.5, 0.0


def rows(depth, share, losses=SAME, right=HALF):
    """Rows of both: swish is right, or wrong, in a further share, at losses relative to relu's."""
    swish = right.clone()
    swish[:, : int(abs(share) * right.shape[1])] = share > 0
    return [
        {"activation": name, "norm": "no norm", "depth": depth, "pair": f"no norm, {depth} layers"}
        | {"correct": correct, "training_loss": loss}
        for name, each, of_seeds in (("silu", swish, losses), ("relu", right, (1.0,) * 3))
        for correct, loss in zip(each, of_seeds, strict=False)
    ]


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
    found = [*rows(2, WORSE), *rows(8, deep), *rows(16, deeper)]
    assert EXPERIMENT.judge(found).verdict == verdict


def test_few_rows_cannot_tell():
    few = torch.tensor([[True, False, True, False]] * 2)
    found = rows(8, 1.0, SAME[:2], right=few)
    judgement = SwishDeep(depths=(8,)).judge(found)
    assert judgement.verdict == "cannot be told here"


@pytest.mark.parametrize(
    ("losses", "verdict"), [((0.37, 0.36, 0.37), "holds"), ((2.7, 2.8, 2.7), "does not hold here")]
)
def test_training_loss_counts_where_accuracy_is_equal(losses, verdict):
    assert SwishDeep(depths=(8,)).judge(rows(8, EQUAL, losses)).verdict == verdict


def test_a_network_that_diverged_has_no_loss_to_compare():
    found = rows(8, EQUAL, (math.nan, 1.0, 1.0))
    assert compare_pair(found)[2] is None
    numbers = SwishDeep(depths=(8,)).judge(found).numbers
    assert "training loss diverged" in numbers["comparisons"]


def test_losses_that_are_worlds_apart_are_no_error():
    numbers = SwishDeep(depths=(8,)).judge(rows(8, EQUAL, (1e-38, 1.0, 1e38))).numbers
    assert "(0 to inf)" in numbers["comparisons"]


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.find(blobs)
    assert len(finding.rows) == 2 * 2 * 2 * 2
    assert "batch norm" in finding.number
    assert len(finding.figure.axes) == 2


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
    with pytest.raises(ValueError, match="`norms` must be"):
        SwishDeep(norms=())
