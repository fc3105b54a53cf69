import logging
import re
from functools import partial

import pytest
import torch
from torch import nn

from tltool.models.head_warnings import combination_warnings, head_warnings
from tltool.models.heads import Head
from tltool.models.serialization import rebuild

mlp = partial(Head, hidden_features=[256])
SOUND_SELU = {
    "hidden_features": [16],
    "activation": "selu",
    "initializer": "lecun_normal",
    "input_norm": "standardize",
}


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"hidden_features": [16, 16], "norm": "batch"},
        {"hidden_features": [16, 16], "norm": "layer", "dropout": 0.5},
        {"hidden_features": [16], "norm": "batch", "dropout": 0.5},
        {"hidden_features": [16], "norm": "batch", "bias": 0.01, "norm_position": "after"},
        {"hidden_features": [16], "norm": "layer", "bias": 0.01},
        SOUND_SELU,
        {**SOUND_SELU, "initializer": "auto", "dropout": 0.1},
        {**SOUND_SELU, "input_norm": {"name": "whiten", "eps": 0.1}},
    ],
)
def test_sound_combinations_get_no_warning(choices):
    assert combination_warnings(**choices, batch_per_device=64) == []


@pytest.mark.parametrize(
    ("choices", "remedy"),
    [
        ({**SOUND_SELU, "norm": "batch"}, "Set `norm: null`"),
        ({**SOUND_SELU, "norm": "layer"}, "Set `norm: null`"),
        ({**SOUND_SELU, "initializer": "xavier_normal"}, "Set `initializer: lecun_normal`"),
        (
            {**SOUND_SELU, "initializer": {"name": "lecun_normal", "gain": 2.0}},
            "Set `initializer: lecun_normal`",
        ),
        ({**SOUND_SELU, "input_norm": None}, "Set `input_norm: standardize`"),
        ({**SOUND_SELU, "input_norm": "center"}, "Set `input_norm: standardize`"),
        ({"activation": "sigmoid"}, "sigmoid in hidden layers saturates.*`activation: relu`"),
        ({"activation": "tanh"}, "tanh in hidden layers saturates.*`activation: relu`"),
        ({"initializer": "zeros"}, "no gradient. Set `initializer: auto`"),
        ({"initializer": {"name": "constant", "value": 0.1}}, "Set `initializer: auto`"),
        ({"hidden_features": [8, 8], "norm": "batch", "dropout": 0.5}, "Set `dropout: 0`"),
        ({"norm": "batch", "bias": 0.01}, "Set `norm_position: after`, or leave `bias` out"),
    ],
)
def test_a_combination_that_defeats_itself_gets_one_warning(choices, remedy):
    (warning,) = combination_warnings(**{"hidden_features": [8], **choices})
    assert re.search(remedy, warning)


@pytest.mark.parametrize("choices", [{"norm": "batch"}, {"input_norm": "batch"}])
def test_batch_norm_with_few_samples_per_device_gets_a_warning(choices):
    head = mlp(8, 3, **choices)
    (warning,) = head_warnings(head, batch_per_device=4)
    assert "4 samples per device" in warning
    assert "Raise `batch_size`" in warning


def test_batch_norm_with_enough_samples_per_device_gets_no_warning():
    assert head_warnings(mlp(8, 3, norm="batch"), batch_per_device=16) == []


def test_few_samples_are_enough_for_layer_norm():
    assert head_warnings(mlp(8, 3, norm="layer"), batch_per_device=1) == []


def test_zero_weights_of_a_linear_head_are_no_mistake():
    assert head_warnings(Head(8, 3, output_initializer="zeros"), batch_per_device=1) == []


def test_a_head_of_another_class_gets_no_warning():
    assert head_warnings(nn.Linear(8, 3), batch_per_device=1) == []


def test_a_head_says_at_construction_what_defeats_itself(caplog):
    with caplog.at_level(logging.WARNING, logger="tltool"):
        mlp(8, 3, activation="tanh")
    assert caplog.messages == head_warnings(mlp(8, 3, activation="tanh"))


def test_the_usual_head_says_nothing(caplog):
    with caplog.at_level(logging.WARNING, logger="tltool"):
        mlp(8, 3, norm="batch")
        Head(8, 3)
    assert caplog.messages == []


@pytest.mark.parametrize(("activation", "depth"), [("relu", 1), ("tanh", 2)])
def test_hidden_layers_of_zeros_get_no_gradient_as_told(activation, depth):
    head = Head(8, 3, hidden_features=[4] * depth, activation=activation, initializer="zeros")
    head(torch.randn(64, 8)).square().sum().backward()
    assert all((layer.linear.weight.grad == 0).all() for layer in head.hidden)


def test_the_variance_behind_dropout_is_smaller_without_it_as_told():
    torch.manual_seed(0)
    dropout, rows = nn.Dropout(0.5), torch.randn(2000, 64).relu()
    weight = torch.randn(64, 64)
    trained = (dropout.train()(rows) @ weight).var(dim=0).mean()
    assert (dropout.eval()(rows) @ weight).var(dim=0).mean() < 0.7 * trained


def test_a_head_rebuilt_from_its_description_says_nothing_again(caplog):
    description = Head(8, 3, hidden_features=[8], activation="tanh").description
    caplog.clear()
    rebuild(description)
    assert caplog.messages == []
