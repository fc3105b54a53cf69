"""Parameters of a kind are found by what their module is."""

import pytest
import timm
from torch import nn

from tltool.finetuning.parameter_kinds import parameters_of_kind
from tltool.surgery.adapters import add_lora


@pytest.mark.parametrize("name", ["test_resnet", "tf_efficientnet_lite0", "resnet18"])
def test_in_a_network_without_other_vectors_the_norms_are_all_vectors(name):
    model = timm.create_model(name, num_classes=0)
    vectors = {name for name, parameter in model.named_parameters() if parameter.ndim == 1}
    assert parameters_of_kind(model, "norms") == vectors


def test_the_norms_of_a_transformer_are_found_by_name():
    model = timm.create_model("test_vit", num_classes=0)
    norms = {name for name, _ in model.named_parameters() if "norm" in name}
    assert parameters_of_kind(model, "norms") == norms


def test_a_norm_free_network_has_no_norms():
    model = timm.create_model("test_nfnet", num_classes=0)
    assert parameters_of_kind(model, "norms") == set()


def test_the_activation_inside_a_norm_is_no_norm():
    model = timm.create_model("test_efficientnet", num_classes=0)
    before = parameters_of_kind(model, "norms")
    model.bn1.act = nn.PReLU()
    assert parameters_of_kind(model, "norms") == before


def test_biases_are_those_of_layers_and_of_queries():
    model = timm.create_model("beit_base_patch16_224", num_classes=0)
    biases = parameters_of_kind(model, "biases")
    assert {"blocks.0.attn.q_bias", "blocks.0.mlp.fc1.bias", "fc_norm.bias"} <= biases
    assert "blocks.0.attn.relative_position_bias_table" not in biases


def test_adapters_are_what_a_layer_lists_as_added():
    layer = nn.Module()
    layer.base_layer, layer.lora_A = nn.Linear(2, 2), nn.ModuleDict({"default": nn.Linear(2, 1)})
    layer.adapter_layer_names = ("lora_A", "lora_B")
    model = nn.Sequential(layer)
    names = {"0.lora_A.default.weight", "0.lora_A.default.bias"}
    assert parameters_of_kind(model, "adapters") == names


def test_adapters_of_lora_stand_beside_the_weight():
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    add_lora(model, 2)
    assert parameters_of_kind(model, "adapters") == {"0.lora_a", "0.lora_b"}
    both = {"0.lora_a", "0.lora_b", "1.weight", "1.bias"}
    assert parameters_of_kind(model, "adapters_and_norms") == both


def test_a_model_without_adapters_has_none():
    assert parameters_of_kind(nn.Linear(2, 2), "adapters") == set()


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'biases'"):
        parameters_of_kind(nn.Linear(2, 2), "biasses")
