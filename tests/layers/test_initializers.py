import math

import pytest
import torch
from torch import nn

from tltool.layers.gains import activation_gain
from tltool.layers.initializers import init_weights_
from tltool.layers.learned_activations import MaxoutLinear

FAN_IN, FAN_OUT = 300, 500


def draw(initializer, **kwargs):
    torch.manual_seed(0)
    return init_weights_(nn.Linear(FAN_IN, FAN_OUT), initializer, **kwargs).weight.detach()


# 150,000 weights: the standard error of the standard deviation is 0.2 %.
@pytest.mark.parametrize(
    ("initializer", "std"),
    [
        ("xavier", math.sqrt(2 / (FAN_IN + FAN_OUT))),
        ("kaiming", math.sqrt(2 / FAN_IN)),
        ({"name": "kaiming", "mode": "fan_out"}, math.sqrt(2 / FAN_OUT)),
        ("lecun", math.sqrt(1 / FAN_IN)),
        ("xavier_uniform", math.sqrt(2 / (FAN_IN + FAN_OUT))),
        ({"name": "xavier_normal", "gain": 2.0}, 2 * math.sqrt(2 / (FAN_IN + FAN_OUT))),
        ("kaiming_uniform", math.sqrt(2 / FAN_IN)),
        ({"name": "kaiming_uniform", "gain": 1.0}, math.sqrt(1 / FAN_IN)),
        ("lecun_uniform", math.sqrt(1 / FAN_IN)),
        ("uniform", 0.05 / math.sqrt(3)),
        ("trunc_normal", 0.02 * 0.8796),  # what is left of a deviation when cut at two of them
        ("orthogonal", math.sqrt(1 / FAN_OUT)),
        ("normal", 0.01),
        ({"name": "normal", "std": 0.3}, 0.3),
        ("auto", math.sqrt(1 / FAN_IN)),
    ],
)
def test_an_initializer_has_its_theoretical_mean_and_deviation(initializer, std):
    weight = draw(initializer)
    assert weight.std().item() == pytest.approx(std, rel=0.01)
    assert abs(weight.mean().item()) < 4 * std / math.sqrt(weight.numel())


@pytest.mark.parametrize(
    ("activation", "variance"),
    [("relu", 2 / FAN_IN), ("selu", 1 / FAN_IN), ("tanh", 1.5929**2 * 2 / (FAN_IN + FAN_OUT))],
)
def test_auto_suits_the_activation_that_follows(activation, variance):
    weight = draw("auto", activation=activation)
    assert weight.var().item() == pytest.approx(variance, rel=0.02)


def test_kaiming_takes_the_slope_of_the_activation_that_follows():
    weight = draw("kaiming", activation={"name": "leaky_relu", "negative_slope": 0.5})
    assert weight.var().item() == pytest.approx(2 / (1 + 0.5**2) / FAN_IN, rel=0.02)


def test_a_fixed_mean_is_kept():
    weight = draw({"name": "normal", "mean": 0.5, "std": 0.1})
    assert weight.mean().item() == pytest.approx(0.5, abs=0.002)


def test_uniform_fills_its_interval_and_no_more():
    weight = draw({"name": "uniform", "low": -0.1, "high": 0.3})
    assert -0.1 <= weight.min() < -0.0999
    assert 0.2999 < weight.max() <= 0.3


def test_the_truncated_normal_ends_at_two_deviations():
    assert 0.0399 < draw("trunc_normal").abs().max() <= 0.04


def test_an_orthogonal_weight_keeps_all_lengths():
    x = torch.randn(7, FAN_IN)
    assert torch.allclose((x @ draw("orthogonal").T).norm(dim=1), x.norm(dim=1), rtol=1e-4)


@pytest.mark.parametrize("family", ["xavier", "kaiming", "lecun"])
def test_a_name_without_a_distribution_is_the_normal_one(family):
    assert torch.equal(draw(family), draw(f"{family}_normal"))


@pytest.mark.parametrize("family", ["xavier", "kaiming", "lecun"])
def test_a_uniform_draw_ends_at_the_root_of_three_deviations(family):
    weight = draw(f"{family}_uniform")
    assert weight.abs().max() == pytest.approx(math.sqrt(3) * weight.std().item(), rel=0.01)


def test_a_constant_is_the_value():
    assert (draw({"name": "constant", "value": 0.3}) == 0.3).all()


def test_a_constant_without_a_value_says_what_to_write():
    with pytest.raises(ValueError, match=r"write \{name: constant, value: \.\.\.\}"):
        draw("constant")


def test_an_interval_without_inside_is_refused():
    with pytest.raises(
        ValueError, match=r"`low` of uniform must be less than `high`, got 1.0 and 0"
    ):
        draw({"name": "uniform", "low": 1.0, "high": 0.0})


@pytest.mark.parametrize("name", ["normal", "trunc_normal"])
@pytest.mark.parametrize("std", [-1.0, 0.0])
def test_a_deviation_that_is_not_positive_is_refused(name, std):
    with pytest.raises(ValueError, match=f"`std` of {name} must be positive.*initializer: zeros"):
        draw({"name": name, "std": std})


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("normal", "std"),
        ("trunc_normal", "std"),
        ("constant", "value"),
        ("uniform", "low"),
        ("kaiming", "gain"),
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_argument_that_is_not_finite_is_refused(name, argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` of {name} must be a finite number"):
        draw({"name": name, argument: value})


@pytest.mark.parametrize("name", ["xavier", "lecun_uniform", "kaiming", "orthogonal"])
@pytest.mark.parametrize("gain", [-1.0, 0.0])
def test_a_gain_that_is_not_positive_is_refused(name, gain):
    with pytest.raises(ValueError, match=f"`gain` must be positive, got {gain}.*initializer: zero"):
        draw({"name": name, "gain": gain})


def test_a_fan_that_does_not_exist_gets_the_choices():
    with pytest.raises(ValueError, match=r"Choose one of: fan_in, fan_out"):
        draw({"name": "kaiming", "mode": "fan_avg"})


def test_zeros_are_zeros():
    assert (draw("zeros") == 0).all()


def test_the_biases_take_the_value_asked_for():
    layer = init_weights_(nn.Linear(3, 2), "zeros", bias=0.01)
    assert torch.equal(layer.bias, torch.full((2,), 0.01))


def test_the_gain_of_relu_is_the_root_of_two():
    assert activation_gain("relu") == pytest.approx(math.sqrt(2), abs=1e-9)


def test_each_piece_of_maxout_is_drawn_as_a_layer_of_its_own():
    torch.manual_seed(0)
    maxout = init_weights_(MaxoutLinear(FAN_IN, FAN_OUT, k=4), "xavier")
    expected = math.sqrt(2 / (FAN_IN + FAN_OUT))
    assert maxout.linear.weight.std().item() == pytest.approx(expected, rel=0.01)


def test_a_convolution_counts_its_receptive_field():
    conv = init_weights_(nn.Conv2d(30, 100, kernel_size=5), "lecun")
    assert conv.weight.std().item() == pytest.approx(math.sqrt(1 / (30 * 25)), rel=0.02)


# 8 groups, in each of which an output reaches 30 channels, and an input 50.
@pytest.mark.parametrize(
    ("initializer", "activation", "std"),
    [
        ("xavier", None, math.sqrt(2 / (30 * 9 + 50 * 9))),
        ("auto", "tanh", activation_gain("tanh") * math.sqrt(2 / (30 * 9 + 50 * 9))),
        ({"name": "kaiming", "mode": "fan_out"}, "relu", math.sqrt(2 / (50 * 9))),
        ("lecun", None, math.sqrt(1 / (30 * 9))),
        ("orthogonal", None, math.sqrt(1 / (30 * 9))),
    ],
)
def test_each_group_of_a_convolution_is_drawn_as_a_layer_of_its_own(initializer, activation, std):
    torch.manual_seed(0)
    conv = nn.Conv2d(8 * 30, 8 * 50, kernel_size=3, groups=8)
    weight = init_weights_(conv, initializer, activation=activation).weight
    assert weight.std().item() == pytest.approx(std, rel=0.01)


@pytest.mark.parametrize("initializer", ["xavier", "lecun", "orthogonal", "auto"])
def test_a_depthwise_convolution_keeps_the_scale_of_a_signal(initializer):
    torch.manual_seed(0)
    conv = nn.Conv2d(256, 256, kernel_size=3, groups=256, bias=False)
    outputs = init_weights_(conv, initializer)(torch.randn(8, 256, 16, 16))
    assert outputs.std().item() == pytest.approx(1, rel=0.05)


def test_an_orthogonal_weight_may_lie_in_any_memory_format():
    conv = nn.Conv2d(8, 4, kernel_size=3).to(memory_format=torch.channels_last)
    rows = init_weights_(conv, "orthogonal").weight.flatten(1)
    assert torch.allclose(rows @ rows.T, torch.eye(4), atol=1e-5)


def test_a_norm_keeps_its_scale():
    layers = init_weights_(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "zeros")
    assert (layers[1].weight == 1).all()


def test_a_module_without_weights_says_so():
    with pytest.raises(ValueError, match="holds no linear or convolutional layer"):
        init_weights_(nn.ReLU(), "zeros")


def test_an_unknown_argument_gets_the_choices():
    with pytest.raises(ValueError, match=r"'stdev'. Did you mean 'std'"):
        init_weights_(nn.Linear(3, 2), {"name": "normal", "stdev": 0.1})
