import re

import pytest
import torch

from tltool.layers.activation_behavior import saturated_region
from tltool.layers.activation_facts import ACTIVATION_FACTS, ADVICE
from tltool.layers.activations import ACTIVATIONS, create_activation
from tltool.layers.gains import activation_moments
from tltool.layers.initializers import INITIALIZERS

NAMES = list(ACTIVATION_FACTS)
ELEMENTWISE = [name for name in NAMES if not ACTIVATIONS[name].is_layer]
GRID = torch.linspace(-6.5, 6.5, 1300, dtype=torch.float64)  # beside every kink


def slope(name):
    z = GRID.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(create_activation(name).double()(z).sum(), z)
    return gradient


def test_the_lecture_comes_first_and_in_its_order():
    order = ["sigmoid", "tanh", "relu", "leaky_relu", "prelu", "elu", "selu", "maxout", "silu"]
    assert NAMES[:9] == list(ACTIVATIONS)[:9] == order


def test_each_activation_is_told_about_under_its_one_name():
    assert set(NAMES) == {entry.name for entry in ACTIVATIONS.values()}


def test_swish_is_silu():
    assert ACTIVATIONS["swish"] is ACTIVATIONS["silu"]


@pytest.mark.parametrize("name", NAMES)
def test_each_paper_has_authors_a_year_and_an_address(name):
    facts = ACTIVATION_FACTS[name]
    assert re.fullmatch(r"[A-Z].+, (19|20)\d\d", facts.paper)
    assert facts.url.startswith("https://")


@pytest.mark.parametrize("name", NAMES)
def test_origin_and_weakness_are_one_sentence_each(name):
    facts = ACTIVATION_FACTS[name]
    assert re.fullmatch(r"[^.]*(\d\.\d[^.]*)*\.", facts.origin)
    assert facts.weakness.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_the_suited_initializer_exists(name):
    assert ACTIVATIONS[name].initializer in INITIALIZERS


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_is_zero_centered_where_its_mean_is_zero(name):
    assert ACTIVATIONS[name].zero_centered == (abs(activation_moments(name)[0]) < 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_not_zero_centered_has_this_problem(name):
    has_problem = "not zero-centered" in ACTIVATION_FACTS[name].problem
    assert not (has_problem and ACTIVATIONS[name].zero_centered)


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name != "softsign"])
def test_exp_is_used_where_the_curve_is_no_piecewise_parabola(name):
    f = create_activation(name).double().requires_grad_(False)
    y = [f(GRID + 0.01 * step) for step in range(4)]
    third_difference = (y[3] - 3 * y[2] + 3 * y[1] - y[0]).abs()  # 0 but for the points at a kink
    curved_share = (third_difference > 1e-12).double().mean().item()
    assert ACTIVATIONS[name].uses_exp == (curved_share > 0.1)


def test_softsign_is_curved_and_needs_division_only():
    z = GRID[GRID > 0]
    assert torch.equal(create_activation("softsign")(z), z / (1 + z))


@pytest.mark.parametrize("name", NAMES)
def test_the_price_of_exp_is_told_among_the_problems_of_what_uses_it(name):
    told = bool(re.search(r"needs (exp|erf|tanh)", ACTIVATION_FACTS[name].problem))
    assert told == ACTIVATIONS[name].uses_exp


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_unit_can_die_where_the_saturated_slope_is_exactly_zero(name):
    below, above = saturated_region(name)
    saturated = slope(name)[(below >= GRID) | (above <= GRID)]
    is_dead = len(saturated) > 0 and (saturated == 0).all().item()
    assert ACTIVATIONS[name].can_die == is_dead


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_what_is_learned_is_told_of_what_has_parameters(name):
    has_parameters = any(True for _ in create_activation(name).parameters())
    assert (ACTIVATION_FACTS[name].learned != "none") == has_parameters


@pytest.mark.parametrize("name", ["silu", "gelu", "mish"])
def test_the_smooth_gates_are_not_monotonic(name):
    assert slope(name).min() < -0.05


def test_gelu_tanh_is_off_by_up_to_five_ten_thousandths():
    off = (create_activation("gelu_tanh")(GRID) - create_activation("gelu")(GRID)).abs().max()
    assert 4e-4 < off < 5e-4


def test_celu_is_elu_at_alpha_one():
    assert torch.equal(create_activation("celu")(GRID), create_activation("elu")(GRID))


def test_celu_has_no_jump_in_its_slope_whatever_its_alpha():
    z = torch.tensor([-1e-9, 1e-9], dtype=torch.float64, requires_grad=True)
    create_activation({"name": "celu", "alpha": 0.3})(z).sum().backward()
    assert z.grad[0].item() == pytest.approx(z.grad[1].item(), abs=1e-6)


def test_the_slope_of_softplus_is_the_sigmoid():
    assert torch.allclose(slope("softplus"), torch.sigmoid(GRID), atol=1e-12)


def test_the_advice_names_activations_that_exist():
    named = set(re.findall(r"[a-z_]{4,}", ADVICE)) & set(ACTIVATIONS)
    assert named == {
        *("relu", "leaky_relu", "maxout", "selu", "gelu", "silu", "sigmoid", "tanh"),
    }
