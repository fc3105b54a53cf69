import math

import pytest
import torch
from timm.models.metaformer import SquaredReLU, StarReLU
from torch import nn

from tltool.layers.activation_behavior import (
    SaturatedRegion,
    activation_behavior,
    outputs_and_slopes,
    saturated_region,
    saturation_of,
)
from tltool.layers.activations import ACTIVATIONS, create_activation

ELEMENTWISE = [name for name, entry in ACTIVATIONS.items() if not entry.is_layer]
Z = torch.linspace(-100, 100, 100_001, dtype=torch.float64)


def slopes(name, z):
    z = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(create_activation(name).double()(z).sum(), z)
    return gradient


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_slope_is_the_difference_quotient(name):
    z = torch.linspace(-7.03, 7.01, 999, dtype=torch.float64)  # beside every kink
    f = create_activation(name).double().requires_grad_(False)
    quotient = (f(z + 1e-6) - f(z - 1e-6)) / 2e-6
    assert torch.allclose(outputs_and_slopes(name, z)[1], quotient, atol=1e-6)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_saturated_activation_passes_less_than_a_hundredth_of_its_steepest_slope(name):
    below, above = saturated_region(name)
    inside = slopes(name, Z[(below >= Z) | (above <= Z)]).abs()
    assert (inside < 0.01 * slopes(name, Z).abs().max()).all()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_right_beside_the_saturated_region_more_slope_is_left(name):
    edges = torch.tensor([edge for edge in saturated_region(name) if math.isfinite(edge)])
    outward = edges.double() + 2e-4 * torch.where(edges > 0, -1.0, 1.0)
    assert (slopes(name, outward).abs() >= 0.01 * activation_behavior(name).steepest_slope).all()


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("sigmoid", math.log((1 - math.sqrt(0.99)) / (1 + math.sqrt(0.99)))),
        ("tanh", -math.atanh(math.sqrt(0.99))),
        ("elu", math.log(0.01)),
        ("softplus", math.log(0.01 / 0.99)),
        ("softsign", -9.0),
        ("relu", 0.0),
        ("hardsigmoid", -3.0),
        ("leaky_relu", -math.inf),
    ],
)
def test_the_saturated_region_begins_where_algebra_says(name, below):
    assert saturated_region(name).below == pytest.approx(below, abs=1e-4)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid"])
def test_the_saturated_region_of_a_symmetric_activation_is_symmetric(name):
    below, above = saturated_region(name)
    assert -below == above


def test_an_argument_moves_the_saturated_region():
    assert saturated_region({"name": "hardtanh", "max_val": 2.0}) == SaturatedRegion(-1.0, 2.0)


@pytest.mark.parametrize("cls", [StarReLU, SquaredReLU])
def test_a_slope_that_grows_with_the_input_saturates_nothing_that_is_active(cls):
    below, above = saturation_of(cls())
    assert below == pytest.approx(
        0.01, abs=1e-3
    )  # The slope is 2 at 1, and a hundredth of it here.
    assert above == math.inf


def test_maxout_is_never_saturated():
    assert saturated_region({"name": "maxout", "k": 3}) == SaturatedRegion()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_outputs_stay_within_the_range_and_come_close_to_its_ends(name):
    behavior = activation_behavior(name)
    far = torch.tensor([-1e5, 1e5], dtype=torch.float64)
    outputs = create_activation(name).double()(torch.cat([Z, far])).detach()
    assert outputs.min() >= behavior.lowest - 1e-4
    assert outputs.max() <= behavior.highest + 1e-4
    assert outputs.min() <= max(behavior.lowest, -50) + 0.02
    assert outputs.max() >= min(behavior.highest, 50) - 0.02


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_no_slope_is_steeper_than_the_steepest(name):
    steepest = slopes(name, Z).abs().max().item()
    assert activation_behavior(name).steepest_slope == pytest.approx(steepest, rel=2e-3)
    assert activation_behavior(name).steepest_slope >= steepest - 1e-5


@pytest.mark.parametrize(("name", "slope"), [("sigmoid", 0.25), ("hardswish", 1.5), ("tanh", 1.0)])
def test_the_steepest_slope_is_that_of_algebra(name, slope):
    assert activation_behavior(name).steepest_slope == pytest.approx(slope, abs=1e-5)


def test_an_activation_that_works_in_place_saturates_as_its_twin():
    assert saturation_of(nn.ReLU(inplace=True)) == saturation_of(nn.ReLU()) == SaturatedRegion(0.0)
