"""The gradient of a batch estimates the whole one."""

import math
from dataclasses import replace

import pytest
import torch

from tltool.comparison.cross_validation import Split
from tltool.comparison.head_stack import Trained
from tltool.lecture.gradient_noise import Noise
from tltool.lecture.mini_batch import STAGES, MiniBatch, judge
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


def test_where_no_gradient_is_left_the_start_decides():
    gone = [[Noise(math.nan, math.nan)] * 2]
    noise = noise_by(-0.5) | {STAGES[1]: gone}
    verdict, number, _ = judge([1, 4], noise, tuned(small=0.1, whole=0.2))
    assert verdict == "holds"
    assert "(no gradient left) after training" in number


def pair(end):
    """The loss of two seeds."""
    return end if isinstance(end, tuple) else (end, end)


def tuned(**ends):
    correct = torch.tensor([True, False])
    return {
        size: Tuned(
            0.1, False, [Trained({}, [], [loss], math.nan, correct, 0.0) for loss in losses]
        )
        for size, losses in zip((8, 90), map(pair, ends.values()), strict=True)
    }


@pytest.mark.parametrize(
    ("power", "small", "whole", "verdict"),
    [
        (-0.5, 0.1, 0.2, "holds"),
        (-0.5, 0.2, 0.2, "holds in part"),
        (-1.0, 0.1, 0.2, "holds in part"),
        (-1.0, 0.2, 0.2, "does not hold here"),
        (-0.5, (0.1, 0.3), 0.2, "holds in part"),
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
