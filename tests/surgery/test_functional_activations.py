import functools

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.nfnet import GammaAct
from torch import nn
from torch.nn.functional import silu

from tltool.surgery.activation_kinds import kind_of
from tltool.surgery.functional_activations import ENTRY, find_functional


class Direct(nn.Module):
    def forward(self, x):
        return F.relu(x)


class Spelled(nn.Module):
    def forward(self, x):
        return torch.nn.functional.relu(x)


class Imported(nn.Module):
    def forward(self, x):
        return silu(x)


class Inside(nn.Module):
    def forward(self, x):
        return [torch.relu_(y) for y in (F.gelu(z) + 1 for z in x)]


class Split(nn.Module):
    def forward(self, x):
        return self.features(x)

    def features(self, x):
        return self.stem(x)

    @staticmethod
    def stem(x):
        return torch.tanh(x)


class Child(Direct):
    def forward(self, x):
        return super().forward(x)


class Holder(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.act_fn = function


class Clean(nn.Module):
    act_layer = nn.ReLU

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()
        self.cls = nn.GELU

    def forward(self, x):
        return self.relu(x) * torch.sigmoid(x) * F.softmax(x, dim=1)

    def unused(self, x):
        return F.relu(x)


def names(module):
    return [name for each in find_functional(nn.Sequential(module)) for name in each.names]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Direct(), ["0.forward.relu"]),
        (Spelled(), ["0.forward.relu"]),
        (Imported(), ["0.forward.silu"]),
        (Split(), ["0.stem.tanh"]),
        (Child(), ["0.forward.relu"]),
        (Holder(F.relu), ["0.act_fn"]),
        (Holder(functools.partial(F.gelu, approximate="tanh")), ["0.act_fn"]),
        (Holder(timm.layers.get_act_fn("gelu")), ["0.act_fn"]),
        (Holder(timm.layers.get_act_fn("sigmoid")), []),
        (nn.TransformerEncoderLayer(4, 2, 4), ["0.activation"]),
        (timm.layers.EvoNorm2dS0(32), ["0.v"]),
        (timm.layers.EvoNorm2dS0(32, apply_act=False), []),
        (timm.layers.FilterResponseNormTlu2d(8), ["0.tau"]),
        (Clean(), []),
        (nn.GELU(), []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_activation_out_of_reach_is_found(module, expected):
    assert names(module) == expected


def test_two_activations_in_one_method_are_two():
    assert sorted(names(Inside())) == ["0.forward.gelu", "0.forward.relu"]


def test_a_function_with_a_gamma_is_a_module():
    model = nn.Sequential(GammaAct("silu", gamma=1.7))
    assert find_functional(model) == []
    assert kind_of(model[0]) == "silu"


def test_the_reason_names_every_method_that_calls_it():
    with torch.device("meta"):
        model = timm.create_model("mobilevitv2_050", num_classes=0)
    (reason,) = {each.why_kept for each in find_functional(model)}
    assert reason.endswith("relu as a function in _forward_self_attn and _forward_cross_attn")


def test_a_shared_module_is_counted_once():
    block = Direct()
    (found,) = find_functional(nn.Sequential(block, block))
    assert found.names == ("0.forward.relu", "1.forward.relu")


class Early(nn.Module):
    def forward(self, x):
        return x

    def early(self, x):
        return F.relu(x)


@pytest.mark.parametrize(("entry", "expected"), [("early", ["early.relu"]), ("forward", [])])
def test_a_model_is_read_from_the_method_that_it_is_run_by(entry, expected):
    model = Early()
    setattr(model, ENTRY, entry)
    assert [name for each in find_functional(model) for name in each.names] == expected
