from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from tltool.layers.activations import ACTIVATIONS
from tltool.models.heads import Head
from tltool.models.serialization import rebuild

mlp = partial(Head, hidden_features=[256])


def parse_head(*args: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--head", type=Callable[[int, int], nn.Module])
    usual = ["--head=tltool.models.heads.Head", "--head.hidden_features=[8]"]
    config = parser.parse_args([*usual, *args])
    return parser.instantiate(config).head(8, 3)


def train(head: nn.Module, steps: int) -> list[float]:
    """Fit random labels and return the loss of each step."""
    x, labels = torch.randn(64, 8), torch.arange(64) % 3
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(head(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def fit_input_norm(head: nn.Module, features: torch.Tensor) -> nn.Module:
    """Fit the input norm where there is one to fit."""
    getattr(head.input_norm, "fit_", lambda features: None)(features)
    return head


def test_a_linear_head_is_a_linear_layer():
    head = Head(8, 3)
    x = torch.randn(5, 8)
    assert torch.equal(head(x), nn.functional.linear(x, head.output.weight, head.output.bias))


def test_an_mlp_head_is_the_sequential_that_one_writes_by_hand():
    head = Head(8, 3, hidden_features=[16, 4], activation="tanh", norm="batch")
    layers = [nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.Tanh()]
    layers += [nn.Linear(16, 4, bias=False), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)]
    by_hand = nn.Sequential(*layers)
    by_hand.load_state_dict(
        dict(zip(by_hand.state_dict(), head.state_dict().values(), strict=True))
    )
    x = torch.randn(32, 8)
    assert torch.equal(head(x), by_hand(x))


def test_a_norm_after_the_activation_normalizes_its_outputs():
    head = mlp(8, 3, norm="batch", norm_position="after")
    hidden = head.hidden(torch.randn(64, 8))
    assert torch.allclose(hidden.mean(dim=0), torch.zeros(256), atol=1e-5)


def test_a_norm_before_the_activation_leaves_relu_outputs_non_negative():
    head = mlp(8, 3, norm="batch", norm_position="before")
    assert head.hidden(torch.randn(64, 8)).min() == 0


def test_a_linear_layer_in_front_of_batch_norm_has_no_bias():
    assert mlp(8, 3, norm="batch").hidden[0].linear.bias is None


def test_a_linear_layer_in_front_of_an_activation_keeps_its_bias():
    assert mlp(8, 3, norm="batch", norm_position="after").hidden[0].linear.bias is not None


def test_the_output_of_a_linear_head_starts_as_asked_for():
    head = Head(8, 3, output_initializer="zeros", output_bias=0.5)
    assert (head(torch.randn(5, 8)) == 0.5).all()


def test_dropout_of_a_linear_head_zeroes_input_features():
    head = Head(8, 3, dropout=0.5, output_initializer={"name": "constant", "value": 1.0})
    logits = head.train()(torch.ones(200, 8))  # each kept feature counts double
    assert set(logits[:, 0].tolist()) <= {2.0 * kept for kept in range(9)}
    assert torch.equal(head.eval()(torch.ones(1, 8)), torch.full((1, 3), 8.0))


def test_any_depth_is_built():
    assert len(Head(8, 3, hidden_features=[7, 6, 5, 4]).hidden) == 4


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", [None, "batch"])
def test_each_activation_trains_in_a_head(activation, norm):
    torch.manual_seed(0)
    head = Head(8, 3, hidden_features=[16, 16], activation=activation, norm=norm)
    losses = train(head, steps=30)
    assert losses[-1] < losses[0] - 0.01


def test_every_parameter_of_a_deep_head_gets_a_gradient():
    head = Head(8, 3, hidden_features=[16, 16], activation={"name": "maxout", "k": 3})
    head(torch.randn(64, 8)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


def test_maxout_has_k_pieces_in_the_head():
    head = Head(8, 3, hidden_features=[16], activation={"name": "maxout", "k": 3})
    assert head.hidden[0].maxout.linear.weight.shape == (48, 8)


def test_prelu_per_channel_has_a_slope_for_each_hidden_feature():
    head = Head(8, 3, hidden_features=[16, 4], activation={"name": "prelu", "per_channel": True})
    assert [layer.activation.weight.numel() for layer in head.hidden] == [16, 4]


def test_the_dropout_beside_selu_is_alpha_dropout():
    head = mlp(8, 3, activation="selu", input_norm="standardize", dropout=0.1)
    assert isinstance(head.hidden[0].dropout, nn.AlphaDropout)


def test_the_dropout_beside_relu_is_dropout():
    assert type(mlp(8, 3, dropout=0.1).hidden[0].dropout) is nn.Dropout


def test_dropout_changes_the_logits_in_training_only():
    head = mlp(8, 3, dropout=0.5)
    x = torch.randn(5, 8)
    assert not torch.equal(head.train()(x), head(x))
    assert torch.equal(head.eval()(x), head(x))


def test_the_hidden_biases_start_at_the_value_asked_for():
    head = Head(8, 3, hidden_features=[16, 4], bias=0.01)
    assert all((layer.linear.bias == 0.01).all() for layer in head.hidden)


def test_the_output_biases_start_at_zero_whatever_the_hidden_ones():
    assert (mlp(8, 3, bias=0.01).output.bias == 0).all()


def test_the_initializer_is_that_of_the_hidden_layers():
    head = mlp(64, 3, initializer={"name": "normal", "std": 0.5})
    assert head.hidden[0].linear.weight.std().item() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2.0), ("selu", 1.0)])
def test_the_initializer_auto_suits_the_activation(activation, gain):
    head = Head(400, 3, hidden_features=[400], activation=activation)
    assert head.hidden[0].linear.weight.var().item() == pytest.approx(gain / 400, rel=0.03)


@pytest.mark.parametrize("input_norm", [None, "standardize", "batch"])
def test_many_heads_run_at_once_under_vmap(input_norm):
    features = torch.randn(16, 8)
    heads = [
        fit_input_norm(mlp(8, 3, norm="batch", input_norm=input_norm), features) for _ in range(3)
    ]
    parameters, buffers = torch.func.stack_module_state(heads)
    logits = torch.vmap(
        lambda p, b: torch.func.functional_call(heads[0], (p, b), features), randomness="different"
    )(parameters, buffers)
    assert torch.allclose(logits[2], heads[2](features), atol=1e-4)


def test_zero_output_weights_give_zero_logits():
    head = mlp(8, 3, output_initializer="zeros")
    assert (head(torch.randn(5, 8)) == 0).all()


@pytest.mark.parametrize("head_class", [Head, mlp])
def test_the_input_norm_stands_in_front_of_everything(head_class):
    head = head_class(8, 3, input_norm="standardize").eval()
    features = torch.randn(50, 8) * 4 + 2
    head.input_norm.fit_(features)
    plain = head_class(8, 3).eval()
    plain.load_state_dict(head.state_dict(), strict=False)
    standardized = (features - features.mean(dim=0)) / features.std(dim=0, correction=0)
    assert torch.allclose(head(features), plain(standardized), atol=1e-5)


@pytest.mark.parametrize("head_class", [Head, mlp])
def test_a_head_without_an_input_norm_has_none(head_class):
    assert head_class(8, 3).input_norm is None


@pytest.mark.parametrize(
    "head",
    [
        Head(8, 3, input_norm="whiten"),
        mlp(8, 3, input_norm="standardize"),
        mlp(8, 3, input_norm="center", activation="maxout"),
        Head(8, 3, input_norm="batch", hidden_features=[]),
    ],
)
def test_the_first_linear_layer_is_what_reads_the_input(head):
    read = []
    head.first_linear.register_forward_hook(lambda module, args, output: read.append(args[0]))
    features = torch.randn(50, 8)
    fit = getattr(head.input_norm, "fit_", head.input_norm)
    fit(features)
    head.eval()(features)
    assert torch.equal(read[0], head.input_norm(features))


@pytest.mark.parametrize("norm", ["layer", "group", "rms"])
@pytest.mark.parametrize("position", ["before", "after"])
def test_each_norm_stands_in_the_head_and_keeps_the_bias(norm, position):
    head = Head(8, 3, hidden_features=[16], norm=norm, norm_position=position)
    assert head.hidden[0].linear.bias is not None
    assert head(torch.randn(1, 8)).isfinite().all()


def test_one_image_alone_gets_the_logits_that_it_gets_in_a_batch():
    head = mlp(8, 3, norm="batch").double()
    x = torch.randn(16, 8, dtype=torch.float64)
    head(x)
    head.eval()
    assert torch.allclose(head(x)[2:3], head(x[2:3]), atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "maxout"])
def test_a_last_training_batch_of_one_trains(activation):
    head = mlp(8, 3, norm="batch", activation=activation).train()
    head(torch.randn(1, 8)).sum().backward()
    assert head.output.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "head",
    [
        Head(8, 3, dropout=0.1),
        Head(8, 3, hidden_features=(16, 4), activation={"name": "maxout", "k": 3}, norm="batch"),
    ],
)
def test_a_head_is_rebuilt_from_its_description(head):
    again = rebuild(head.description)
    again.load_state_dict(head.state_dict())
    x = torch.randn(5, 8)
    assert torch.equal(again.eval()(x), head.eval()(x))


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("gelu", "GELU(approximate='none')"),
        ("{name: leaky_relu, negative_slope: 0.2}", "LeakyReLU(negative_slope=0.2)"),
    ],
)
def test_the_command_line_takes_an_activation(text, layer):
    head = parse_head(f"--head.activation={text}")
    assert repr(head.hidden[0].activation) == layer


@pytest.mark.parametrize("text", ["null", "none"])
def test_the_command_line_takes_no_norm(text):
    assert not hasattr(parse_head(f"--head.norm={text}").hidden[0], "norm")


def test_the_command_line_takes_an_input_norm_with_an_argument():
    assert parse_head("--head.input_norm={name: whiten, eps: 0.5}").input_norm.eps == 0.5


def test_the_command_line_takes_a_list_of_widths():
    head = parse_head("--head.hidden_features=[16, 4]", "--head.norm=batch")
    assert [layer.norm.num_features for layer in head.hidden] == [16, 4]


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"hidden_features": [0]}, r"\[256\] for one hidden layer, \[\] for none, got \[0\]"),
        ({"hidden_features": [16.5]}, "must be a list of whole numbers"),
        ({"dropout": 1.0}, r"must be a probability in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"must be a probability in \[0, 1\), got -0.1"),
        ({"dropout": "much"}, r"must be a probability in \[0, 1\), got 'much'"),
        ({"bias": "nan"}, "`bias` must be a finite number, got 'nan'"),
        ({"bias": float("inf")}, "`bias` must be a finite number, got inf"),
        ({"output_bias": float("nan")}, "`output_bias` must be a finite number, got nan"),
        ({"norm_position": "behind"}, "must be before or after, got 'behind'"),
        ({"activation": "rleu"}, "Did you mean 'relu'"),
        ({"norm": "bacth"}, "Did you mean 'batch'"),
        ({"initializer": "kaimimg"}, "Did you mean 'kaiming"),
        ({"input_norm": "standardise"}, "Did you mean 'standardize'"),
        ({"hidden_features": [], "activation": "gelu"}, "is for hidden layers"),
        ({"hidden_features": [], "initializer": "zeros"}, "the output layer is `output_initial"),
        ({"hidden_features": [], "bias": 0.1}, "that of the output layer is `output_bias`"),
    ],
)
def test_a_wrong_argument_says_what_to_write(arguments, remedy):
    with pytest.raises(ValueError, match=remedy):
        mlp(8, 3, **arguments)


def test_one_width_in_place_of_a_list_says_what_to_write():
    with pytest.raises(ValueError, match=r"\[256\] for one hidden layer.* got 256"):
        Head(8, 3, hidden_features=256)


@pytest.mark.parametrize("sizes", [(0, 3), (8, 0), (8.0, 3)])
def test_a_size_that_is_no_count_is_refused(sizes):
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        Head(*sizes)
