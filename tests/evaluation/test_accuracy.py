from functools import partial

import pytest
import torch
from scipy.stats import binomtest

from tltool.evaluation.accuracy import accuracy_interval, wilson
from tltool.evaluation.paired_differences import estimate_mean
from tltool.evaluation.score_interval import score_interval


@pytest.mark.parametrize("right", [0, 1, 17, 20])
def test_the_interval_is_wilsons(right):
    expected = binomtest(right, 20).proportion_ci(method="wilson")
    found = accuracy_interval(torch.arange(20) < right).interval
    assert found == pytest.approx((expected.low, expected.high))


def test_images_that_belong_together_widen_the_interval():
    correct = (torch.arange(100) // 10) % 2 == 0  # Each group of ten is right or wrong together.
    low, high = accuracy_interval(correct).interval
    wide_low, wide_high = accuracy_interval(correct, (torch.arange(100) // 10).tolist()).interval
    assert wide_high - wide_low > 2.5 * (high - low)


def test_the_standard_error_is_that_of_the_groups():
    correct, groups = (torch.arange(60) < 30).double(), (torch.arange(60) // 10).tolist()
    of_groups = estimate_mean(correct[None], groups).standard_error
    assert accuracy_interval(correct, groups).standard_error == pytest.approx(of_groups)


def test_groups_count_where_all_images_are_right():
    grouped = accuracy_interval(torch.ones(100).bool(), [0, 1] * 50)
    assert grouped.interval == accuracy_interval(torch.ones(2).bool()).interval


@pytest.mark.parametrize("interval", [accuracy_interval, partial(score_interval, most=3)])
def test_one_group_counts_as_one_image(interval):
    found = interval(torch.tensor([1.0, 0.0, 1.0]), [0, 0, 0]).interval
    assert found == pytest.approx(wilson(2 / 3, 1))


def test_a_score_of_one_image_has_the_interval_of_one_trial():
    assert score_interval(torch.tensor([0.5]), most=1).interval == wilson(0.5, 1)
