"""Swaps that would break a model in silence: prelu's slope, gammas, gates, position biases."""

import pytest
import timm
import torch
from timm.layers import SqueezeExcite
from timm.models.nfnet import GammaAct
from torch import nn
from torch.nn import functional as F

from tltool.surgery.activation_gamma import activation_gamma
from tltool.surgery.activation_swap import swap_activations


def conv_gammas(model):
    scaled = [m for m in model.modules() if type(m).__name__.startswith("ScaledStdConv")]
    return [round(m.scale * m.weight[0].numel() ** 0.5, 2) for m in scaled]


def meta(name):
    with torch.device("meta"):
        return timm.create_model(name, num_classes=0).eval()


@pytest.mark.parametrize("act", ["relu", "leaky_relu"])
def test_prelu_begins_as_what_it_replaces(make_backbone, images, act):
    model = make_backbone("test_resnet", act_layer=act).eval()
    before = model(images)
    swap_activations(model, "prelu")
    assert torch.equal(model(images), before)


def test_prelu_begins_at_a_slope_that_is_given():
    model = nn.Sequential(nn.ReLU6())
    swap_activations(model, {"name": "prelu", "init": 0.1})
    assert model[0].weight.item() == pytest.approx(0.1)


def test_a_gamma_behind_an_activation_follows_it():
    model, z = nn.Sequential(GammaAct("gelu", gamma=1.7015)), torch.randn(4)
    swap_activations(model, "tanh")
    torch.testing.assert_close(model(z), 1.5939 * torch.tanh(z), rtol=1e-3, atol=0)
    swap_activations(model, "relu")
    torch.testing.assert_close(model(z), 1.7139 * F.relu(z), rtol=1e-3, atol=0)


def test_all_of_a_nfnet_is_swapped():
    model = meta("dm_nfnet_f0")
    report = swap_activations(model, "silu", only="*act*", example=torch.empty(1, 3, 192, 192))
    assert list(report.swapped.values()).count("gelu") == 52
    assert set(conv_gammas(model)) == {1.0}


@pytest.fixture
def nfnet():
    """A small network whose gammas are in its convolutions, all of relu."""
    torch.manual_seed(0)
    cfg = {"depths": (1, 1, 1, 1), "channels": (16, 16, 16, 16), "act_layer": "relu"}
    return timm.create_model("nf_resnet26", num_classes=0, **cfg).eval()


def test_gammas_in_convolutions_follow_the_activations_in_front(nfnet):
    swap_activations(nfnet, "tanh", only="stages.3.*", example=torch.zeros(1, 3, 32, 32))
    of_stages = [conv_gammas(stage) for stage in nfnet.stages]
    assert [set(gammas) for gammas in of_stages] == [{1.71}, {1.71}, {1.71}, {1.59}]
    assert conv_gammas(nfnet.stem) == [1.71]


def test_gammas_in_convolutions_need_an_example(nfnet):
    with pytest.raises(ValueError, match=r"gamma in its convolutions .* pass `example`"):
        swap_activations(nfnet, "tanh")


def test_a_gamma_of_another_activation_is_refused(nfnet):
    nfnet.stages[0][0].conv2.scale *= 1.5
    with pytest.raises(ValueError, match=r"Cannot swap stages\.0\.0\.act2.* gamma of 2\.571"):
        swap_activations(nfnet, "tanh", example=torch.zeros(1, 3, 32, 32))


def test_a_gamma_makes_the_variance_1():
    z = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    assert (activation_gamma(nn.SiLU()) * F.silu(z)).std().item() == pytest.approx(1, abs=2e-3)


class Functional(nn.Module):
    """Calls its activation as a function; the gate is a module."""

    def __init__(self):
        super().__init__()
        self.conv, self.se = nn.Conv2d(8, 8, 1), SqueezeExcite(8)

    def forward(self, x):
        return self.se(F.relu(self.conv(x)))


def test_a_swap_that_reaches_only_gates_is_refused():
    with pytest.raises(ValueError, match=r"only those inside gates, relu \(0\.se\.act\)"):
        swap_activations(nn.Sequential(Functional()), "gelu")


def test_gates_alone_are_swapped_where_they_are_named():
    report = swap_activations(nn.Sequential(Functional()), "gelu", only="*.se.*")
    assert list(report.swapped) == ["0.se.act"]


def test_position_biases_are_kept_and_told():
    report = swap_activations(meta("swinv2_tiny_window16_256"), "silu", only="layers.3.*")
    assert report.num_kept["position bias"] == 2
    assert "2 position bias" in str(report)


def test_position_biases_are_swapped_where_they_are_named():
    model = meta("swinv2_tiny_window16_256")
    assert swap_activations(model, "silu", only="*.cpb_mlp.*").num_swapped == 12
