"""The gradient of a batch estimates the whole one."""

import math
from dataclasses import replace

import pytest
import torch

from tltool.comparison.splits import Split
from tltool.comparison.stack import Trained
from tltool.lecture.mini_batch import STAGES, MiniBatch, Noise, gradient_noise, judge, slope
from tltool.lecture.training import Tuned, build_head

TINY = MiniBatch(
    batch_sizes=(2, 8),
    draws=3,
    trained_sizes=(16,),
    hidden_features=(8,),
    rates=(0.1, 1.0),
    epochs=2,
    seeds=2,
)


def measure(problem, batch_size, **options):
    head = build_head({"hidden_features": [8]}, problem, seed=0)
    options = {"draws": 100, "seed": 0} | options
    return gradient_noise(head, *problem.train, batch_size=batch_size, **options)


def test_the_error_falls_by_the_square_root_of_the_batch(blobs):
    errors = [measure(blobs, size).error for size in (2, 32)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def test_large_batches_point_the_way_of_the_whole(blobs):
    assert measure(blobs, 1).cosine < measure(blobs, 1024).cosine
    assert measure(blobs, 1024).cosine > 0.99


def test_a_batch_may_be_larger_than_the_data(blobs):
    assert 0 < measure(blobs, 10_000, draws=2).error < 0.1


def test_the_error_is_relative_to_the_whole_gradient(blobs):
    head = build_head({"hidden_features": []}, blobs, seed=0)
    features, labels = (rows[:1] for rows in blobs.train)  # One row: each batch is the whole.
    noise = gradient_noise(head, features, labels, batch_size=3, draws=2, seed=0)
    assert noise.error == pytest.approx(0, abs=1e-5)
    assert noise.cosine == pytest.approx(1)


def test_the_slope_is_that_of_the_logarithms():
    assert slope([1, 10, 100], [5.0, 0.5, 0.05]) == pytest.approx(-1)


def test_each_batch_size_reports_the_loss_of_all_training_rows(blobs):
    problem = blobs.standardized()
    run = TINY.train(problem)[16].runs[0]
    head = build_head(TINY._head, problem, seed=0)
    head.load_state_dict(run.state)
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(head(problem.train[0]), problem.train[1])
    assert run.val_losses[-1] == pytest.approx(float(loss), rel=1e-4)


def test_all_rows_in_one_step_come_last(blobs):
    assert list(replace(TINY, trained_sizes=(500, 16)).train(blobs.standardized())) == [16, 90]


def noise_by(power):
    return {stage: [[Noise(8.0, 0.1), Noise(8.0 * 4**power, 0.5)]] for stage in STAGES}


def tuned(**ends):
    correct = torch.tensor([True, False])
    return {
        size: Tuned(0.1, False, [Trained({}, [], [loss], math.nan, correct, 0.0)] * 2)
        for size, loss in zip((8, 90), ends.values(), strict=True)
    }


@pytest.mark.parametrize(
    ("power", "small", "whole", "verdict"),
    [
        (-0.5, 0.1, 0.2, "holds"),
        (-0.5, 0.2, 0.2, "holds in part"),
        (-1.0, 0.1, 0.2, "holds in part"),
        (-1.0, 0.2, 0.2, "does not hold here"),
        (-0.5, math.nan, 0.2, "holds in part"),
    ],
)
def test_noise_and_loss_decide_the_verdict(power, small, whole, verdict):
    assert judge([1, 4], noise_by(power), tuned(small=small, whole=whole))[0] == verdict


def test_too_few_rows_for_batches_tell_nothing():
    whole = {90: tuned(small=0.1, whole=0.1)[90]}
    assert judge([1, 4], noise_by(-0.5), whole)[0] == "cannot be told here"


@pytest.mark.parametrize(
    ("name", "value"), [("batch_sizes", (4,)), ("trained_sizes", ()), ("draws", 0)]
)
def test_a_bad_value_is_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}`.* must"):
        MiniBatch(**{name: value})


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.run(blobs)
    assert len(finding.rows) == 2 * 2 * 2 * 2 + 2 * 2 * (2 + 1)
    assert "rows a step" in finding.number
    assert len(finding.figure.axes) == 3


def test_data_without_a_part_for_choosing_will_do(blobs):
    train, test = blobs.split.train, blobs.split.test
    problem = replace(blobs, split=Split(train, train[:0], test, (0,)))
    assert TINY.run(problem).verdict != "cannot be told here"
