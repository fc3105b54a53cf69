import copy
import dataclasses

import pytest
import torch
from timm.layers import BatchNormAct2d, GroupNormAct, LayerNormAct2d
from timm.models.metaformer import StarReLU
from torch import nn
from torch.nn import functional as F

from tltool.layers.activations import ACTIVATIONS
from tltool.surgery.activation_inventory import find_activations
from tltool.surgery.activation_swap import swap_activations
from tltool.surgery.edits import apply_surgery_

ELEMENTWISE = [name for name, entry in ACTIVATIONS.items() if not entry.is_layer]


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def perceptron(*activations):
    layers = [layer for act in activations for layer in (nn.Linear(4, 4), act)]
    return nn.Sequential(*layers, nn.Linear(4, 4))


class Held(nn.Module):
    """Holds an activation as a function."""

    def __init__(self):
        super().__init__()
        self.function = F.gelu

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("to", ELEMENTWISE)
def test_a_backbone_with_another_activation_has_finite_gradients(backbone, images, to):
    swap_activations(backbone, to)
    backbone.train()(images).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in backbone.parameters())


def test_swapping_keeps_every_weight_and_statistic(backbone):
    before = copied(backbone)
    swap_activations(backbone, "mish")
    assert equal(before, backbone.state_dict())


def test_swapping_for_one_that_learns_adds_its_weights_and_no_others(backbone):
    before = copied(backbone)
    report = swap_activations(backbone, "prelu")
    after = dict(backbone.state_dict())
    added = {after.pop(f"{name}.weight").item() for name in report.swapped}
    assert added <= {0.0, 0.25}  # From relu, and from others.
    assert equal(before, after)


def test_swapping_gives_what_timm_builds_with_that_activation(make_backbone, images):
    reference = make_backbone("test_vit", act_layer=nn.ELU).eval()
    swapped = make_backbone("test_vit").eval()
    swap_activations(swapped, "elu")
    assert torch.equal(swapped(images), reference(images))


def test_swapping_in_batch_norms_gives_what_timm_builds(make_backbone, images):
    # timm builds squeeze-excites with it too, whose sigmoids stay.
    reference = make_backbone("test_efficientnet", act_layer=nn.ELU)
    swapped = make_backbone("test_efficientnet")
    swap_activations(swapped, "elu")
    assert torch.equal(swapped(images), reference(images))
    assert equal(swapped.state_dict(), reference.state_dict())


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_with_activation_changes_only_its_activation(training):
    norm = BatchNormAct2d(6).train(training)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.running_mean)
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    images = torch.randn(4, 6, 5, 5)
    expected = F.gelu(F.batch_norm(images, mean, var, norm.weight, norm.bias, training))
    model = nn.Sequential(norm)
    swap_activations(model, "gelu")
    assert torch.equal(model(images), expected)
    assert torch.equal(model[0].running_mean, mean)
    assert model[0] is norm


@pytest.mark.parametrize(
    ("norm", "plain"),
    [
        (GroupNormAct(8, 2), lambda x: F.group_norm(x, 2)),
        (LayerNormAct2d(8), lambda x: F.layer_norm(x.permute(0, 2, 3, 1), [8]).permute(0, 3, 1, 2)),
    ],
    ids=["group", "layer"],
)
def test_other_norms_with_activation_change_only_it(norm, plain):
    images = torch.randn(4, 8, 5, 5)
    model = nn.Sequential(norm)
    swap_activations(model, "tanh")
    assert torch.allclose(model(images), torch.tanh(plain(images)), atol=1e-5)


def test_a_norm_without_activation_gets_none():
    model = nn.Sequential(BatchNormAct2d(4), BatchNormAct2d(4, apply_act=False))
    assert swap_activations(model, "gelu").swapped == {"0.act": "relu"}
    assert isinstance(model[1].act, nn.Identity)


def test_swapping_keeps_train_and_eval_mode(backbone):
    backbone.eval()
    swap_activations(backbone, "gelu_tanh")
    assert not any(module.training for module in backbone.modules())


def test_a_shared_activation_stays_shared():
    relu = nn.ReLU()
    model = perceptron(relu, relu, nn.ReLU())
    report = swap_activations(model, "prelu")
    assert model[1] is model[3]
    assert model[5] is not model[1]
    assert (report.num_swapped, tuple(report.swapped)) == (2, ("1", "3", "5"))


def test_gates_are_kept(make_backbone):
    model = make_backbone("test_efficientnet")
    report = swap_activations(model, "relu")
    assert set(report.kept.values()) == {"gate"}
    assert all(name.endswith("se.gate") for name in report.kept)
    assert all("Sigmoid" in type(model.get_submodule(name)).__name__ for name in report.kept)


def test_swapped_and_kept_are_all_activations(backbone):
    names = [name for each in find_activations(backbone) for name in each.names]
    report = swap_activations(backbone, "elu", only="*.0.*")
    assert sorted([*report.swapped, *report.kept]) == sorted(names)
    assert report.num_swapped + sum(report.num_kept.values()) == report.num_activations


def test_only_what_the_pattern_names_is_swapped(make_backbone):
    model = make_backbone("test_vit")
    report = swap_activations(model, "relu", only="blocks.[01].*")
    assert list(report.swapped) == ["blocks.0.mlp.act", "blocks.1.mlp.act"]
    assert isinstance(model.blocks[2].mlp.act, nn.GELU)


def test_only_the_named_kind_is_swapped():
    model = perceptron(nn.Tanh(), nn.ReLU())
    report = swap_activations(model, "gelu", old="tanh")
    assert report.swapped == {"1": "tanh"}
    assert report.kept == {"3": "not selected"}


def test_the_old_kind_may_go_by_its_other_name():
    assert swap_activations(perceptron(nn.SiLU()), "gelu", old="swish").swapped == {"1": "silu"}


def test_arguments_reach_the_new_activation():
    model = perceptron(nn.ReLU())
    swap_activations(model, {"name": "leaky_relu", "negative_slope": 0.2})
    assert model[1](torch.tensor(-10.0)).item() == -2


def test_another_argument_is_another_activation():
    model = perceptron(nn.LeakyReLU(0.01), nn.LeakyReLU(0.2))
    report = swap_activations(model, {"name": "leaky_relu", "negative_slope": 0.2})
    assert report.swapped == {"1": "leaky_relu"}
    assert report.kept == {"3": "already leaky_relu"}


def test_what_is_of_that_kind_already_is_left_and_told(caplog):
    model = perceptron(nn.ReLU(), nn.ReLU())
    act = model[1]
    with caplog.at_level("INFO"):
        swap_activations(model, "relu")
    assert model[1] is act
    assert caplog.messages == ["Swapped 0 of 2 activations for relu; kept 2 already relu."]


def test_an_activation_with_weights_of_its_own_is_replaced_whole():
    model = perceptron(StarReLU())
    assert swap_activations(model, "gelu").swapped == {"1": "star_relu"}
    assert [name for name, _ in model.named_parameters() if name.startswith("1.")] == []


def test_what_is_out_of_reach_is_warned_of(caplog):
    model = nn.Sequential(nn.ReLU(), Held())
    assert swap_activations(model, "mish").out_of_reach == ("1.function",)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.endswith("(relu) for mish; kept 1 out of reach (1.function).")


def test_no_activation_is_in_place_afterwards(backbone):
    swap_activations(backbone, "leaky_relu")
    swapped = [each.module for each in find_activations(backbone) if not each.why_kept]
    assert not any(module.inplace for module in swapped)


def test_a_fused_transformer_layer_computes_the_new_activation():
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.ReLU(), batch_first=True)
    model, tokens = nn.Sequential(layer.eval()), torch.randn(2, 3, 8)
    swap_activations(model, "silu")
    with torch.no_grad():
        fused, attended = model(tokens), layer.norm1(tokens + layer._sa_block(tokens, None, None))
        mlp = layer.linear2(F.silu(layer.linear1(attended)))
        assert torch.allclose(fused, layer.norm2(attended + mlp), atol=1e-5)


def test_a_swapped_model_can_be_copied(make_backbone, images):
    model = make_backbone("test_resnet").eval()
    swap_activations(model, "swish_beta")
    assert torch.equal(copy.deepcopy(model)(images), model(images))


def test_the_report_cannot_be_changed():
    report = swap_activations(perceptron(nn.ReLU()), "gelu")
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.num_swapped = 0


def test_the_log_says_how_many_of_how_many(make_backbone, caplog):
    with caplog.at_level("INFO"):
        swap_activations(make_backbone("test_byobnet"), "gelu")
    assert caplog.messages == ["Swapped 14 of 18 activations (relu) for gelu; kept 4 gates."]


def test_a_swap_behind_a_matched_one_is_not_exact_for_its_map_goes():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU())
    edits = [
        {"swap_activations": {"to": "relu", "match": "moments"}},
        {"swap_activations": "prelu"},
    ]
    _, second = apply_surgery_(model, edits, example=torch.zeros(1, 3, 8, 8))
    assert second.changed == ("1",)
