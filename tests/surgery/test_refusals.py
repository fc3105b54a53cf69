import pytest
import torch
from timm.layers import EvoNorm2dS0
from torch import nn
from torch.nn import functional as F

from tltool.surgery.activation_swap import swap_activations


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return F.relu(self.linear(x))


def perceptron():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh())


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("gleu", "Did you mean 'gelu'"),
        ("maxout", r"doubles its parameters, .* Choose it in a head"),
        ({"name": "relu", "inplace": True}, "Leave `inplace` out of `to`"),
        ({"name": "prelu", "per_channel": True}, "Leave `per_channel` out: one slope"),
        ({"name": "elu", "slope": 1}, "Unknown elu argument 'slope'"),
        ({"negative_slope": 0.1}, "`to` must be a name, or a mapping of a `name`"),
    ],
)
def test_an_activation_that_cannot_be_made_is_refused(to, message):
    model = perceptron()
    with pytest.raises(ValueError, match=message):
        swap_activations(model, to)
    assert isinstance(model[1], nn.ReLU)


def test_what_is_no_activation_at_all_is_refused():
    with pytest.raises(TypeError, match="`to` must be a name, or a mapping"):
        swap_activations(perceptron(), 3)


def test_a_pattern_that_matches_no_activation_says_which_there_are():
    with pytest.raises(ValueError, match=r"'layer\.\*' matches no activation.*names are: 1, 3"):
        swap_activations(perceptron(), "gelu", only="layer.*")


def test_a_kind_that_the_model_lacks_says_which_it_has():
    with pytest.raises(ValueError, match=r"no 'silu' activation\. Set `old` to .*: relu, tanh"):
        swap_activations(perceptron(), "gelu", old="silu")


def test_a_pattern_and_a_kind_that_exclude_each_other_are_refused():
    with pytest.raises(ValueError, match=r"fits both `only` and `old`.*relu \(1\), tanh \(3\)"):
        swap_activations(perceptron(), "gelu", only="1", old="tanh")


def test_a_gate_that_is_chosen_alone_is_refused():
    model = nn.ModuleDict({"act": nn.ReLU(), "gate": nn.Sigmoid()})
    with pytest.raises(ValueError, match=r"stays as it is: sigmoid \(gate; gate\)"):
        swap_activations(model, "gelu", only="gate")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Functional(), "Functional calls relu as a function in forward"),
        (nn.Sequential(EvoNorm2dS0(32)), "part of the formula of EvoNorm2dS0"),
        (nn.Sequential(nn.Linear(2, 2)), "Sequential has none below it that is known"),
        (nn.ReLU(), "ReLU has none below it that is known"),
    ],
    ids=["function", "norm", "linear", "itself"],
)
def test_a_model_without_an_activation_in_reach_says_why(model, message):
    with pytest.raises(ValueError, match=message):
        swap_activations(model, "gelu")


def test_a_refused_swap_changes_nothing():
    model = perceptron()
    before = model(torch.ones(1, 4))
    with pytest.raises(ValueError, match="'9' matches no activation"):
        swap_activations(model, "gelu", only=["1", "9"])
    assert torch.equal(model(torch.ones(1, 4)), before)
