import math

import pytest
import torch
from torch import nn

from tltool.layers import MaxoutLinear, init_weights_
from tltool.layers.gains import activation_gain

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


def test_a_norm_keeps_its_scale():
    layers = init_weights_(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "zeros")
    assert (layers[1].weight == 1).all()


def test_a_module_without_weights_says_so():
    with pytest.raises(ValueError, match="holds no linear or convolutional layer"):
        init_weights_(nn.ReLU(), "zeros")


def test_an_unknown_argument_gets_the_choices():
    with pytest.raises(ValueError, match=r"'stdev'. Did you mean 'std'"):
        init_weights_(nn.Linear(3, 2), {"name": "normal", "stdev": 0.1})
