"""The gradient of a batch estimates the whole one."""

import math
from dataclasses import replace

import pytest
import torch

from tltool.comparison.cross_validation import SplitRows
from tltool.lecture.mini_batch import END, START, MiniBatch, gradient_error, slope
from tltool.lecture.training import build_head, trained_head

TINY = MiniBatch(
    batch_sizes=(2, 8),
    draws=3,
    trained_sizes=(16,),
    hidden_features=(8,),
    lrs=(0.1, 1.0),
    epochs=2,
    seeds=2,
)


def test_each_batch_size_reports_the_loss_of_all_training_rows(blobs):
    problem = blobs.standardized()
    row = TINY.train(problem)[0]
    with torch.no_grad():
        logits = trained_head(row, problem)(problem.train[0])
    loss = torch.nn.functional.cross_entropy(logits, problem.train[1])
    assert row["loss"][-1] == pytest.approx(float(loss), rel=1e-4)


def test_all_rows_in_one_step_come_last(blobs):
    found = replace(TINY, trained_sizes=(500, 16)).train(blobs.standardized())
    assert [row["rows"] for row in found] == [16, 16, 90, 90]


EXPERIMENT = MiniBatch(batch_sizes=(1, 4))


def rows(power, small, whole, error=8.0):
    """Rows of the noise of one seed, and of the losses of two."""
    losses = {"8 rows a step:": small, "all 90 rows a step:": whole}
    return [
        {"series": name, "loss": [loss], "accuracy": 1.0}
        for name, ends in losses.items()
        for loss in (ends if isinstance(ends, tuple) else (ends, ends))
    ] + [
        {"stage": stage, "seed": 0, "error": each}
        for stage, first in ((START, 8.0), (END, error))
        for each in (first, first * 4**power)
    ]


def test_where_no_gradient_is_left_the_start_decides():
    judgement = EXPERIMENT.judge(rows(-0.5, 0.1, 0.2, error=math.nan))
    assert judgement.verdict == "holds"
    assert list(judgement.numbers["powers"]) == ["at the start:"]


@pytest.mark.parametrize(
    ("power", "small", "whole", "verdict"),
    [
        (-0.5, 0.1, 0.2, "holds"),
        (-0.5, 0.2, 0.2, "holds in part"),
        (-0.59, 0.1, 0.2, "holds"),
        (-0.61, 0.1, 0.2, "holds in part"),
        (-1.0, 0.2, 0.2, "does not hold here"),
        (-0.5, (0.1, 0.3), 0.2, "holds in part"),
        (-0.5, math.nan, 0.2, "holds in part"),
    ],
)
def test_noise_and_loss_decide_the_verdict(power, small, whole, verdict):
    assert EXPERIMENT.judge(rows(power, small, whole)).verdict == verdict


def test_too_few_rows_for_batches_tell_nothing():
    whole = [row for row in rows(-0.5, 0.1, 0.1) if row.get("series") != "8 rows a step:"]
    assert EXPERIMENT.judge(whole).verdict == "cannot be told here"


@pytest.mark.parametrize(
    ("name", "value"), [("batch_sizes", (4,)), ("trained_sizes", ()), ("draws", 0)]
)
def test_a_bad_value_is_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must"):
        MiniBatch(**{name: value})


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.find(blobs)
    assert len(finding.rows) == 2 * 2 * 2 + 2 * 2 * 2  # Epochs, and noise.
    assert "rows a step" in finding.number
    assert len(finding.figure.axes) == 2


def test_data_without_a_split_for_choosing_will_do(blobs):
    train, test = blobs.split.train, blobs.split.test
    problem = replace(blobs, split=SplitRows(train, train[:0], test, (0,)))
    assert TINY.find(problem).verdict != "cannot be told here"


def measure(problem, batch_size, **options):
    head = build_head({"hidden_features": [8]}, problem, seed=0)
    options = {"draws": 100, "seed": 0} | options
    return gradient_error(head, *problem.train, batch_size=batch_size, **options)


def test_the_error_falls_by_the_square_root_of_the_batch(blobs):
    errors = [measure(blobs, size) for size in (2, 32)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def test_a_batch_may_be_larger_than_the_data(blobs):
    assert 0 < measure(blobs, 10_000, draws=2) < 0.1


def test_the_error_is_relative_to_the_whole_gradient(blobs):
    head = build_head({"hidden_features": []}, blobs, seed=0)
    features, labels = (rows[:1] for rows in blobs.train)  # One row: each batch is the whole.
    error = gradient_error(head, features, labels, batch_size=3, draws=2, seed=0)
    assert error == pytest.approx(0, abs=1e-5)


def test_the_error_is_a_share_of_the_whole_gradient(blobs):
    head = build_head({"hidden_features": []}, blobs, seed=0)
    torch.nn.init.zeros_(head.output.weight)  # So that the gradient goes by the features.
    labels = blobs.train[1]
    errors = [
        gradient_error(head, scale * blobs.train[0], labels, batch_size=4, draws=9, seed=0)
        for scale in (100, 200)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.01)


def test_every_row_is_drawn_equally_often(blobs):
    # The root mean square over all batches of one row is then exact, whatever the seed.
    errors = [measure(blobs, 1, draws=1, seed=seed) for seed in (0, 1)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)


def test_the_slope_is_that_of_the_logarithms():
    assert slope([1, 10, 100], [5.0, 0.5, 0.05]) == pytest.approx(-1)


def test_a_zero_gradient_has_no_relative_error(blobs):
    head = build_head({"hidden_features": []}, blobs, seed=0)
    head.output.bias.data[blobs.train[1][0]] = 1e4  # It is sure of the one row that it sees.
    features, labels = (rows[:1] for rows in blobs.train)
    assert math.isnan(gradient_error(head, features, labels, batch_size=2, draws=2, seed=0))
