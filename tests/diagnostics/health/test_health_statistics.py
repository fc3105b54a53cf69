"""Health in numbers, against hand-made tensors and numpy."""

import math

import numpy as np
import pytest
import torch

from tltool.diagnostics.health.health_statistics import (
    as_rows,
    batch_norm_lag,
    cosine,
    effective_rank,
    energy_along,
    one_sign_share,
    signal_to_noise,
)


def test_units_of_a_convolution_are_its_channels():
    outputs = torch.arange(24.0).view(2, 3, 2, 2)
    assert as_rows(outputs, 1)[:4, 1].tolist() == outputs[0, 1].flatten().tolist()


def test_units_of_a_transformer_are_its_last_dimension():
    outputs = torch.arange(24.0).view(2, 4, 3)
    assert torch.equal(as_rows(outputs), outputs.reshape(8, 3))


@pytest.mark.parametrize("shape", [(30, 5), (5, 30)])
def test_effective_rank_is_that_of_numpys_singular_values(shape):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = np.linalg.svd((rows - rows.mean(0)).numpy(), compute_uv=False)
    shares = values[values > 1e-9] / values.sum()
    assert effective_rank(rows) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-4)


@pytest.mark.parametrize("rows", [torch.ones(6, 4), torch.full((6, 4), math.nan)])
def test_rows_without_differences_have_no_rank(rows):
    assert effective_rank(rows) == 0


def test_inputs_behind_relu_have_one_sign():
    rows = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    assert one_sign_share(rows.relu()) == 1
    assert one_sign_share(rows) == 0


def test_inputs_that_are_always_zero_have_no_sign():
    assert one_sign_share(torch.zeros(5, 3)) == 0


def test_energy_along_an_axis_is_that_of_its_column():
    gradient = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    assert energy_along(gradient, torch.tensor([5.0, 0.0])) == pytest.approx(0.9)


def test_energy_along_nothing_is_zero():
    assert energy_along(torch.ones(2, 2), torch.zeros(2)) == 0


def test_a_gradient_that_turns_has_a_cosine_of_minus_one():
    update = torch.randn(4, 3)
    assert cosine(update, -2 * update) == pytest.approx(-1)


def test_signal_to_noise_is_that_of_numpy():
    gradients = np.random.default_rng(0).normal(size=(6, 4)) + 1
    mean = gradients.mean(axis=0)
    noise = ((gradients - mean) ** 2).sum(axis=1).mean()
    mean_square = (gradients**2).sum(axis=1).mean()
    found = signal_to_noise(torch.tensor(mean), mean_square)
    assert found == pytest.approx((mean**2).sum() / noise)


def test_a_constant_gradient_is_all_signal():
    assert signal_to_noise(torch.tensor([2.0]), 4.0) == math.inf


def test_lag_is_in_standard_deviations_of_the_batch():
    mean, var = torch.zeros(3), torch.full((3,), 4.0)
    shift, factor = batch_norm_lag(torch.full((3,), 6.0), torch.full((3,), 36.0), mean, var)
    assert (shift, factor) == (pytest.approx(3), pytest.approx(3))


def test_no_gradient_has_neither_signal_nor_noise():
    assert signal_to_noise(torch.zeros(2), 0.0) == 0
