"""SELU in place of batch norm."""

import math

import pytest
import torch

from tltool.lecture.selu_without_norm import NETWORKS, SELUWithoutNorm, variances
from tltool.lecture.training import build_head

TINY = SELUWithoutNorm(depths=(2, 3), width=8, lrs=(0.01, 0.1), epochs=1, seeds=2)
EXPERIMENT = SELUWithoutNorm(depths=(8, 32))


def start(problem, name, depth):
    """Return the variances in a wide new network."""
    head = {"hidden_features": [128] * depth, **NETWORKS[name]}
    features, _ = problem.train
    return variances(build_head(head, problem, seed=0), features)


def rows(*accuracies, num_rows=200, chance=0.1, seeds=3):
    """Rows of networks that each have the first of the test rows right, at two depths."""
    index = torch.arange(num_rows)
    return [
        {"network": name, "depth": depth, "is_deepest": depth == 32, "variance": [1.0]}
        | {"correct": index < num_rows * share, "accuracy": share}
        | {"guess": index < num_rows * chance}
        for depth in (8, 32)
        for name, share in zip(NETWORKS, accuracies, strict=True)
        for _ in range(seeds)
    ]


def test_selu_keeps_the_variance_through_32_layers(blobs):
    assert start(blobs.standardized(), "selu", 32)[-1] == pytest.approx(1.0, abs=0.5)


def test_relu_loses_more_of_what_tells_rows_apart_than_selu(blobs):
    selu, relu = (start(blobs.standardized(), name, 32) for name in ("selu", "relu"))
    assert relu[-1] < 0.5 * selu[-1]


def test_behind_batch_norm_each_layer_has_the_variance_of_a_rectified_normal(blobs):
    expected = 0.5 - 0.5 / math.pi
    assert start(blobs.standardized(), "relu + batch norm", 8) == pytest.approx(
        [expected] * 8, rel=0.35
    )


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((0.9, 0.3, 0.4), "holds"),
        ((0.9, 0.9, 0.9), "holds"),
        ((0.6, 0.3, 0.9), "holds in part"),
        ((0.3, 0.6, 0.9), "does not hold here"),
        ((0.1, 0.1, 0.9), "does not hold here"),
        ((0.1, 0.1, 0.1), "cannot be told here"),
    ],
)
def test_the_verdict_goes_by_chance_batch_norm_and_relu(accuracies, verdict):
    assert EXPERIMENT.judge(rows(*accuracies)).verdict == verdict


def test_too_few_rows_cannot_tell():
    few = rows(0.9, 0.0, 0.8, num_rows=10, chance=0.0, seeds=1)
    assert EXPERIMENT.judge(few).verdict == "cannot be told here"


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.find(blobs)
    assert len(finding.rows) == (2 + 3) * 3 * 2
    assert "accuracy with 3 hidden layers" in finding.number
    assert len(finding.figure.axes) == 2


def test_no_depth_is_refused():
    with pytest.raises(ValueError, match="`depths` must be"):
        SELUWithoutNorm(depths=())
