import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from tltool.layers import gains
from tltool.layers.activations import ACTIVATIONS, create_activation

ELEMENTWISE = [name for name, entry in ACTIVATIONS.items() if not entry.is_layer]


def expectation(f):
    """E[f(z)] by Gauss-Legendre quadrature between the kinks of all activations."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    total = 0.0
    for low, high in pairwise([-12, -6, -3, -1, 0, 1, 3, 6, 12]):
        z = torch.from_numpy((high - low) / 2 * nodes + (high + low) / 2)
        density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        total += (torch.from_numpy(weights) * density * f(z)).sum().item() * (high - low) / 2
    return total


def measured_second_moment(name, gain, width=1000, depth=40):
    """The second moment in front of the last of many random layers."""
    torch.manual_seed(0)
    signal, activation = torch.randn(64, width), create_activation(name)
    for _ in range(depth):
        in_front = signal @ (torch.randn(width, width) * gain / math.sqrt(width))
        signal = activation(in_front)
    return in_front.square().mean().item()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_gain_makes_the_second_moment_one(name):
    f = create_activation(name).double().requires_grad_(False)
    second_moment = expectation(lambda z: (gains.activation_gain(name) * f(z)) ** 2)
    assert second_moment == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_mean_is_the_expectation(name):
    f = create_activation(name).double().requires_grad_(False)
    assert gains.activation_moments(name)[0] == pytest.approx(expectation(f), abs=1e-6)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, 1.0])
def test_the_gain_of_leaky_relu_is_that_of_he_et_al(slope):
    gain = gains.activation_gain({"name": "leaky_relu", "negative_slope": slope})
    assert gain == pytest.approx(math.sqrt(2 / (1 + slope**2)), abs=1e-6)


@pytest.mark.parametrize(("k", "second_moment"), [(2, 1.0), (3, 1 + math.sqrt(3) / (2 * math.pi))])
def test_the_gain_of_maxout_is_that_of_the_largest_of_k_normals(k, second_moment):
    gain = gains.activation_gain({"name": "maxout", "k": k})
    assert gain == pytest.approx(1 / math.sqrt(second_moment), abs=1e-6)


def test_no_activation_has_gain_one():
    assert gains.activation_gain(None) == 1


def test_pytorch_is_explained_wherever_it_differs():
    different = {
        name
        for name in ELEMENTWISE
        if gains.pytorch_gain(name)
        and abs(gains.pytorch_gain(name) - gains.activation_gain(name)) > 1e-4
    }
    assert different == set(gains.PYTORCH_REASONS)


def test_torchs_gain_is_none_only_where_torch_knows_no_gain():
    known = {name for name in ELEMENTWISE if gains.pytorch_gain(name) is not None}
    assert known == {"sigmoid", "tanh", "relu", "leaky_relu", "selu", "identity"}


@pytest.mark.parametrize(
    ("name", "settled"), [("sigmoid", 0.265), ("tanh", 1.178), ("selu", 0.023)]
)
def test_the_signal_of_a_wide_network_settles_where_told(name, settled):
    told = gains.settled_second_moment(name, gains.pytorch_gain(name))
    assert told == pytest.approx(settled, abs=1e-3)
    assert measured_second_moment(name, gains.pytorch_gain(name)) == pytest.approx(told, rel=0.1)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "identity"])
def test_a_deviation_of_the_signal_stays_where_the_activation_is_homogeneous(name):
    assert gains.moment_growth(name) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["tanh", "elu", "selu", "softsign"])
def test_a_deviation_of_the_signal_shrinks_where_the_activation_flattens(name):
    assert gains.moment_growth(name) < 0.95


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "hardswish"])
def test_a_deviation_of_the_signal_grows_where_the_activation_steepens(name):
    assert gains.moment_growth(name) > 1.05


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_growth_is_the_derivative_by_autograd(name):
    f = create_activation(name).double()
    q = torch.ones((), dtype=torch.float64, requires_grad=True)
    z = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    moment = gains.activation_gain(name) ** 2 * torch.trapezoid(f(q.sqrt() * z) ** 2 * density, z)
    (growth,) = torch.autograd.grad(moment, q)
    assert gains.moment_growth(name) == pytest.approx(growth.item(), rel=1e-3)


@torch.no_grad()
def test_the_growth_is_that_of_two_signals_through_one_layer():
    silu, gain = nn.SiLU(), gains.activation_gain("silu")
    z = torch.randn(2_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moments = [((gain * silu(math.sqrt(q) * z)) ** 2).mean().item() for q in (0.99, 1.01)]
    assert gains.moment_growth("silu") == pytest.approx((moments[1] - moments[0]) / 0.02, rel=0.01)
