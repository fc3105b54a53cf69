import copy

import pytest
import torch
from timm.layers import Conv2dSame, ScaledStdConv2d, StdConv2d
from torch import nn
from torch.nn import functional as F

from tltool.surgery.adapters import LowRankUpdate, add_lora, has_lora, merge_lora


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def adapted(model, rank=4, **options):
    """Add adapters that change the outputs, as trained ones do."""
    add_lora(model, rank, **options)
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if name.endswith("lora_b"):
            nn.init.normal_(parameter, std=0.1, generator=generator)
    return model


@torch.no_grad()
def test_new_adapters_change_no_bit_of_the_outputs(backbone, images):
    before = backbone.eval()(images)
    add_lora(backbone, 4)
    assert torch.equal(backbone(images), before)


def test_adding_keeps_every_weight_and_statistic_under_its_key(backbone):
    before = copied(backbone)
    add_lora(backbone, 4)
    after = copied(backbone)
    assert {key.rpartition(".")[2] for key in after.keys() - before.keys()} == {"lora_a", "lora_b"}
    assert all(torch.equal(after[key], value) for key, value in before.items())


@torch.no_grad()
def test_a_merged_model_gives_the_outputs_of_its_adapters(backbone, images):
    before = backbone.eval()(images)
    outputs = adapted(backbone)(images)
    merge_lora(backbone)
    torch.testing.assert_close(backbone(images), outputs, rtol=0, atol=1e-5)
    assert not torch.allclose(outputs, before, atol=1e-3)


def test_merging_leaves_the_model_as_it_was_but_for_weights(backbone):
    kinds, keys = [type(module) for module in backbone.modules()], set(backbone.state_dict())
    merge_lora(adapted(backbone))
    assert [type(module) for module in backbone.modules()] == kinds
    assert set(backbone.state_dict()) == keys
    assert not has_lora(backbone)


def test_a_merged_copy_leaves_the_original_as_it_is(backbone):
    before = copied(adapted(backbone))
    merge_lora(copy.deepcopy(backbone))
    assert all(torch.equal(backbone.state_dict()[key], value) for key, value in before.items())


LAYERS = [
    nn.Linear(16, 24),
    nn.Conv2d(16, 24, 3, stride=2, padding=1, bias=False),
    nn.Conv2d(16, 32, 3, groups=4),
    nn.Conv2d(16, 16, 5, groups=16),
    Conv2dSame(16, 24, 3, stride=2),
    StdConv2d(16, 24, 3),
    ScaledStdConv2d(16, 24, 3),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_layer_computes_as_its_class_does_with_the_updated_weight(layer):
    model = adapted(nn.Sequential(copy.deepcopy(layer)), alpha=2.0)
    new, plain = model[0], copy.deepcopy(layer)
    update = 2.0 / 4 * (new.lora_b @ new.lora_a)
    plain.weight.data += update.reshape(plain.weight.shape).detach()
    inputs = torch.randn(2, 16) if isinstance(layer, nn.Linear) else torch.randn(2, 16, 9, 9)
    torch.testing.assert_close(new(inputs), plain(inputs), rtol=0, atol=1e-6)


def test_a_weight_that_is_passed_to_a_function_is_the_updated_one():
    layer = adapted(nn.Sequential(nn.Linear(16, 16)))[0]
    inputs = torch.randn(2, 16)
    assert torch.equal(F.linear(inputs, layer.weight, layer.bias), layer(inputs))


def test_gradients_reach_the_adapters_of_frozen_weights(backbone, images):
    backbone.requires_grad_(False)
    adapted(backbone)
    backbone(images).square().mean().backward()
    reached = {name for name, p in backbone.named_parameters() if p.grad is not None}
    adapters = {name for name, _ in backbone.named_parameters() if "lora_" in name}
    assert reached == adapters != set()


def test_a_shared_layer_is_adapted_once_and_stays_shared():
    layer = nn.Linear(16, 16)
    report = add_lora(nn.Sequential(layer, nn.ReLU(), layer), 4)
    assert (report.num_adapted, report.adapted) == (1, ("0", "2"))
    assert isinstance(layer, LowRankUpdate)


def test_layers_that_hold_one_weight_keep_it():
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16))
    model[1].weight = model[0].weight
    report = add_lora(model, 4)
    assert report.adapted == ("2",)
    assert set(report.kept.values()) == {"with a weight that another module holds too"}


def test_a_parametrized_layer_keeps_its_weight():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(16, 16)), nn.Linear(16, 8)
    )
    report = add_lora(model, 4)
    assert report.kept == {"0": "parametrized"}


def test_a_layer_of_a_low_full_rank_keeps_its_weight(make_backbone):
    model = make_backbone("test_efficientnet")
    report = add_lora(model, 8)
    low = {n for n, why in report.kept.items() if why == "of a full rank below 16"}
    depthwise = {n for n, m in model.named_modules() if getattr(m, "groups", 1) > 1}
    assert depthwise <= low
    assert not any(hasattr(model.get_submodule(name), "lora_a") for name in low)


def test_patterns_choose_layers_and_the_report_counts_the_others(make_backbone):
    report = add_lora(make_backbone("test_vit"), 4, only=["*.attn.*", "blocks.0.mlp.fc1"])
    assert (report.num_adapted, report.num_layers) == (13, 25)
    assert set(report.kept.values()) == {"not selected"}
    assert str(report).endswith("to 13 of 25 linear layers and convolutions; kept 12 not selected.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "`rank` must be a whole number of at least 1"),
        ({"rank": 4, "alpha": 0.0}, "`alpha` must be positive"),
        ({"rank": 400}, "No layer .* of a full rank below 800. Lower `rank`"),
        ({"rank": 4, "only": "norm*"}, "matches no linear layer or convolution"),
    ],
)
def test_what_would_adapt_nothing_is_refused(make_backbone, options, message):
    with pytest.raises(ValueError, match=message):
        add_lora(make_backbone("test_vit"), **options)


def test_adapters_on_adapters_are_refused(make_backbone):
    model = make_backbone("test_vit")
    add_lora(model, 4, only="*.attn.*")
    with pytest.raises(ValueError, match="has an adapter already"):
        add_lora(model, 4)


def test_merging_without_adapters_is_refused():
    with pytest.raises(ValueError, match="Add them by `add_lora`"):
        merge_lora(nn.Sequential(nn.Linear(8, 8)))
