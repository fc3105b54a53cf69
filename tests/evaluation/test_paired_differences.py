import math

import pytest
import torch
from scipy import stats

from tltool.evaluation.paired_differences import (
    estimate_mean,
    estimate_score,
    holm,
    images_needed,
    judge,
)
from tltool.evaluation.score import MAE


def right(share, shape, seed):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share).double()


def test_with_one_seed_it_is_the_paired_t_test():
    first, second = right(0.8, (1, 200), 0), right(0.7, (1, 200), 1)
    estimate = estimate_mean(first - second)
    expected = stats.ttest_rel(first[0], second[0])
    assert estimate.p_value == pytest.approx(expected.pvalue)
    assert estimate.interval == pytest.approx(expected.confidence_interval(0.95))


def test_with_groups_it_is_the_t_test_on_groups_of_one_size():
    scores = right(0.7, (1, 60), 0)
    expected = scores[0].view(12, 5).mean(dim=1)
    estimate = estimate_mean(scores, [image // 5 for image in range(60)])
    assert estimate.mean == pytest.approx(float(expected.mean()))
    assert estimate.standard_error == pytest.approx(float(expected.std()) / math.sqrt(12))


def test_more_seeds_take_away_none_of_the_error_of_images():
    one = right(0.7, (1, 100), 0)
    assert estimate_mean(one.repeat(20, 1)).standard_error == pytest.approx(
        estimate_mean(one).standard_error
    )


def test_more_images_take_away_none_of_the_error_of_seeds():
    shares = torch.tensor([0.5, 0.7, 0.9])[:, None]
    few, many = (
        estimate_mean(torch.rand(3, n, generator=torch.Generator().manual_seed(0)) < shares)
        for n in (400, 40_000)
    )
    expected = float(shares.std()) / math.sqrt(3)
    assert many.standard_error == pytest.approx(expected, rel=0.1)
    assert few.standard_error > 0.9 * expected


def test_equal_heads_differ_by_nothing():
    scores = right(0.8, (3, 50), 0)
    (difference,) = judge({"a": scores, "b": scores}, "a")
    assert (difference.estimate.mean, difference.p_value, difference.is_finding) == (0, 1, False)


def test_half_of_an_interval_is_that_before_it_is_cut_off():
    heads = {"a": torch.zeros(2, 20), "b": torch.tensor([[1.0] * 20, [0.4] * 20])}
    estimate = judge(heads, "a")[0].estimate
    assert estimate.interval == (-1, 1)
    assert estimate.half_width > estimate.mean + 1


def test_an_accuracy_stays_within_its_range_and_is_never_certain():
    few = estimate_score(torch.tensor([[1.0] * 9 + [0.0], [0.0] * 10]))
    assert few.interval == (0, 1)
    low, high = estimate_score(torch.ones(2, 30)).interval
    assert 0.85 < low < 0.95
    assert high == 1


def test_an_error_is_not_below_zero():
    assert estimate_score(torch.tensor([[0.1, 9.0], [0.2, 7.0]]), score=MAE).interval[0] == 0


def test_a_large_difference_is_found():
    heads = {"a": right(0.7, (3, 300), 0), "b": right(0.95, (3, 300), 1)}
    (difference,) = judge(heads, "a")
    assert difference.is_finding
    assert difference.estimate.mean == pytest.approx(0.25, abs=0.05)


def test_few_images_are_no_finding_however_clear_they_look():
    heads = {"a": torch.zeros(3, 4), "b": torch.ones(3, 4)}
    (difference,) = judge(heads, "a")
    assert difference.p_value == 2 / 2**4


def test_holm_is_that_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_all_pairs_are_judged_without_a_reference():
    heads = {name: right(0.8, (2, 30), seed) for seed, name in enumerate("abc")}
    pairs = [(d.name, d.reference) for d in judge(heads, None)]
    assert pairs == [("b", "a"), ("c", "a"), ("c", "b")]


def test_the_images_needed_find_the_difference_in_four_of_five_cases():
    needed = images_needed(estimate_mean(right(0.8, (1, 500), 0) - right(0.75, (1, 500), 1)), 0.05)
    trials = [
        judge({"a": right(0.75, (1, needed), 2 * n), "b": right(0.8, (1, needed), 2 * n + 1)}, "a")
        for n in range(200)
    ]
    found = sum(difference.is_finding for (difference,) in trials) / 200
    assert 0.7 < found < 0.9


def test_no_number_of_images_is_enough_where_seeds_differ_more():
    scores = torch.tensor([[1.0] * 50, [0.0] * 50, [1.0] * 50])
    assert images_needed(estimate_mean(scores), effect=0.01) is None


@pytest.mark.parametrize("groups", [None, [image // 4 for image in range(80)]])
def test_of_twenty_intervals_about_one_misses_the_truth(groups):
    generator = torch.Generator().manual_seed(0)
    misses = 0
    for _ in range(400):
        seeds = 0.05 * torch.randn(4, 1, generator=generator)
        images = 0.3 * torch.randn(1, 80, generator=generator)
        if groups is not None:
            images = images + 0.3 * torch.randn(1, 20, generator=generator).repeat_interleave(4, 1)
        scores = 0.5 + seeds + images + 0.3 * torch.randn(4, 80, generator=generator)
        low, high = estimate_mean(scores, groups).interval
        misses += not low <= 0.5 <= high
    assert misses / 400 < 0.08


def test_few_images_that_are_all_alike_leave_a_doubt():
    (difference,) = judge({"a": torch.ones(1, 4), "b": torch.ones(1, 4)}, "b")
    low, high = difference.estimate.interval
    assert low < -0.3
    assert high > 0.3


def test_a_difference_of_accuracies_lies_within_what_is_possible():
    right = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    (difference,) = judge({"a": right, "b": 1 - right}, "b")
    low, high = difference.estimate.interval
    assert low >= -1
    assert high == 1


def test_an_interval_of_many_images_is_hardly_wider_than_before():
    right = (torch.arange(600) % 10 < 9).float()[None]
    other = (torch.arange(600) % 9 < 8).float()[None]
    (difference,) = judge({"a": right, "b": other}, "b")
    plain = estimate_mean(right - other).interval
    torch.testing.assert_close(difference.estimate.interval, plain, atol=0.002, rtol=0)


def test_few_groups_that_are_all_alike_leave_more_doubt_than_as_many_images():
    right = torch.ones(1, 80)
    groups = [image // 20 for image in range(80)]
    of_groups, of_images = (
        judge({"a": right, "b": right}, "b", each)[0].estimate.interval for each in (groups, None)
    )
    assert of_groups[0] < of_images[0] < 0 < of_images[1] < of_groups[1]


def test_the_error_of_groups_is_never_less_than_their_spread():
    scores = torch.arange(80).div(20, rounding_mode="floor")[None] / 4
    groups = [image // 20 for image in range(80)]
    (difference,) = judge({"a": scores, "b": torch.zeros(1, 80)}, "b", groups)
    expected = estimate_mean(scores, groups).standard_error
    assert difference.estimate.standard_error == pytest.approx(expected)


def test_groups_that_are_all_right_leave_as_much_doubt_as_so_many_images():
    of_groups = estimate_score(torch.ones(1, 50), [image // 10 for image in range(50)])
    assert of_groups.interval == estimate_score(torch.ones(1, 5)).interval
