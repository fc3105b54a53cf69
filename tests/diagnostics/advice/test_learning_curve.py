"""The learning curve says what more images would bring."""

import math

import pytest
import torch

from tltool.diagnostics.advice.learning_curve import LearningCurve, learning_curve


def make_data(num_images, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_images) % 2
    return labels[:, None] + 3 * torch.randn(num_images, 40, generator=generator), labels


def test_it_rises_where_images_are_what_is_lacking():
    curve = learning_curve(make_data(320, 0), make_data(1000, 1), 2)
    assert curve.sizes == [40, 80, 160, 320]
    means = [accuracy.mean for accuracy in curve.accuracies]
    assert means == sorted(means)
    assert curve.slope.is_positive


def test_it_is_flat_where_all_is_learned():
    labels = torch.arange(64) % 2
    features = labels[:, None] + 0.01 * torch.randn(64, 4)
    assert learning_curve((features, labels), (features, labels), 2).slope.mean == 0


def test_the_same_seed_draws_the_same_and_leaves_global_random_numbers_alone():
    state = torch.get_rng_state()
    first, second = (learning_curve(make_data(64, 0), make_data(50, 1), 2) for _ in range(2))
    assert torch.equal(first.correct, second.correct)
    assert torch.equal(torch.get_rng_state(), state)


def test_so_few_images_have_no_slope():
    curve = learning_curve(make_data(6, 0), make_data(20, 1), 2)
    assert curve.sizes == [6]
    assert curve.slope is None


def test_the_error_of_a_point_holds_that_of_the_draws():
    correct = torch.tensor([[1.0, 0.0] * 50, [1.0, 0.0] * 50], dtype=torch.float64)
    curve = LearningCurve([50, 100], correct, [[0.3, 0.7], [0.5]])
    images = 0.25 / 99
    errors = [accuracy.standard_error for accuracy in curve.accuracies]
    assert errors == pytest.approx([math.sqrt(images + 0.08 / 2), math.sqrt(images)])


def test_the_slope_is_the_gain_of_a_doubling():
    correct = torch.tensor([[0.0] * 10, [1.0] * 10], dtype=torch.float64)
    assert LearningCurve([25, 100], correct, [[0.0, 0.0], [1.0]]).slope.mean == 0.5
