import pytest
import torch
from torch import nn
from torch.nn import functional

from tltool.layers.activations import ACTIVATIONS, create_activation, create_maxout

ELEMENTWISE = [name for name, entry in ACTIVATIONS.items() if not entry.is_layer]

# What each name must compute, written with torch's functions or by hand.
REFERENCES = {
    "sigmoid": lambda z: 1 / (1 + torch.exp(-z)),
    "tanh": lambda z: (torch.exp(z) - torch.exp(-z)) / (torch.exp(z) + torch.exp(-z)),
    "relu": lambda z: torch.where(z > 0, z, 0),
    "leaky_relu": lambda z: torch.where(z > 0, z, 0.01 * z),
    "prelu": lambda z: torch.where(z > 0, z, 0.25 * z),
    "elu": lambda z: torch.where(z > 0, z, torch.exp(z) - 1),
    "selu": lambda z: (
        1.0507009873554805 * torch.where(z > 0, z, 1.6732632423543772 * (torch.exp(z) - 1))
    ),
    "silu": lambda z: z / (1 + torch.exp(-z)),
    "swish": lambda z: z / (1 + torch.exp(-z)),
    "gelu": lambda z: z * torch.special.ndtr(z),
    "mish": lambda z: z * torch.tanh(torch.log1p(torch.exp(z))),
    "gelu_tanh": lambda z: functional.gelu(z, approximate="tanh"),
    "swish_beta": lambda z: z / (1 + torch.exp(-z)),
    "celu": lambda z: torch.where(z > 0, z, torch.exp(z) - 1),
    "softplus": lambda z: torch.log1p(torch.exp(z)),
    "softsign": lambda z: z / (1 + z.abs()),
    "relu6": lambda z: z.clamp(0, 6),
    "hardtanh": lambda z: z.clamp(-1, 1),
    "hardsigmoid": lambda z: (z / 6 + 0.5).clamp(0, 1),
    "hardswish": lambda z: z * (z / 6 + 0.5).clamp(0, 1),
    "identity": lambda z: z,
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_activation_computes_its_formula(name):
    z = torch.linspace(-12, 12, 1001, dtype=torch.float64)
    outputs = create_activation(name).double()(z)
    assert torch.allclose(outputs, REFERENCES[name](z), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_activation_keeps_the_shape(name):
    assert create_activation(name)(torch.randn(2, 3, 4, 5)).shape == (2, 3, 4, 5)


def test_an_unknown_activation_gets_the_nearest_name():
    with pytest.raises(ValueError, match="Did you mean 'leaky_relu'"):
        create_activation("leakyrelu")


def test_two_activations_share_no_parameter():
    assert create_activation("prelu").weight is not create_activation("prelu").weight


def test_maxout_as_an_activation_says_what_to_use():
    with pytest.raises(
        ValueError, match=r"the head builds it as MaxoutLinear\(in_features, out_fe"
    ):
        create_activation("maxout")


def test_an_argument_changes_the_function():
    leaky = create_activation({"name": "leaky_relu", "negative_slope": 0.2})
    assert leaky(torch.tensor([-10.0])).item() == pytest.approx(-2.0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "celu", "alpha": 0.0}, r"celu .* alpha: 0.0: .*alpha cannot be 0"),
        ({"name": "hardtanh", "min_val": 1, "max_val": -1}, r"min_val: 1, max_val: -1: max_val"),
        ({"name": "gelu", "approximate": "bogus"}, r"approximate: bogus: .* none or tanh"),
        ({"name": "softplus", "beta": 0.0}, r"softplus .* beta: 0.0: its output is not finite"),
    ],
)
def test_an_argument_out_of_range_is_refused_with_the_reason(spec, message):
    with pytest.raises(ValueError, match=f"{message}.* write just `{spec['name']}`"):
        create_activation(spec)


def test_an_activation_is_made_on_the_device_that_is_the_default():
    with torch.device("meta"):
        made = create_activation({"name": "prelu", "init": 0.1}), create_activation("gelu")
    assert (made[0].weight.device.type, repr(made[1])) == ("meta", "GELU(approximate='none')")


def test_prelu_learns_one_slope_unless_told_otherwise():
    assert create_activation("prelu", num_channels=64).weight.shape == (1,)


def test_prelu_per_channel_learns_a_slope_for_each():
    prelu = create_activation({"name": "prelu", "per_channel": True}, num_channels=64)
    assert prelu.weight.shape == (64,)


def test_prelu_per_channel_without_a_width_says_what_to_pass():
    with pytest.raises(ValueError, match="num_channels=64"):
        create_activation({"name": "prelu", "per_channel": True})


def test_swish_with_a_large_beta_is_relu():
    z = torch.linspace(-4, 4, 101)
    steep = create_activation({"name": "swish_beta", "init": 1e4})
    assert torch.allclose(steep(z), z.relu(), atol=1e-3)


def test_the_beta_of_swish_is_learned():
    swish = create_activation("swish_beta")
    swish(torch.randn(8)).sum().backward()
    assert swish.beta.grad.abs().item() > 0


def test_maxout_is_the_largest_of_its_linear_pieces():
    maxout = create_maxout({"name": "maxout", "k": 3}, 5, 4)
    x = torch.randn(7, 5)
    pieces = [
        functional.linear(x, weight, bias)
        for weight, bias in zip(
            maxout.linear.weight.chunk(3), maxout.linear.bias.chunk(3), strict=True
        )
    ]
    expected = torch.stack(pieces).amax(dim=0)
    assert torch.allclose(maxout(x), expected, atol=1e-6)


def test_maxout_normalizes_its_pieces_before_the_maximum():
    maxout = create_maxout("maxout", 5, 4, create_norm=nn.BatchNorm1d)
    assert maxout(torch.randn(64, 5)).mean() > 0.3  # the mean of the larger of two normals is 0.56


def test_maxout_takes_no_argument_but_k():
    with pytest.raises(
        ValueError, match=r"Unknown maxout argument 'in_features'.* Choose one of: k"
    ):
        create_maxout({"name": "maxout", "in_features": 3}, 5, 4)


def test_maxout_of_one_piece_says_that_it_is_linear():
    with pytest.raises(ValueError, match=r"at least 2, got 1.*set the activation to identity"):
        create_maxout({"name": "maxout", "k": 1}, 5, 4)
