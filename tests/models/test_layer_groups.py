"""Layer groups are ordered partitions with names that a user expects."""

import logging

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import nn

from tltool.models.backbone import Backbone
from tltool.models.layer_groups import layer_groups, name_groups
from tltool.models.timm_layer_groups import layer_groups_of


def group_names(model, coarse=True):
    model = timm.create_model(model, num_classes=0)
    return list(name_groups(group_parameters(model, model.group_matcher(coarse=coarse))))


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("test_resnet", "stem layer1 layer2 layer3 layer4"),
        ("resnet18", "stem layer1 layer2 layer3 layer4"),
        ("test_vit", "stem blocks.0 blocks.1 blocks.2 blocks.3 blocks.4 blocks.5"),
        ("test_efficientnet", "stem blocks.0 blocks.1 blocks.2 blocks.3 blocks.4"),
        ("test_convnext", "stem stages.0 stages.1 stages.2 stages.3 head.norm"),
        (
            "mobilenetv3_small_050",
            "stem blocks.0 blocks.1 blocks.2 blocks.3 blocks.4 blocks.5 conv_head",
        ),
        ("swin_tiny_patch4_window7_224", "patch_embed layers.0 layers.1 layers.2 layers.3 norm"),
        ("test_nfnet", "stem stages.0 stages.1 stages.2 stages.3"),
    ],
)
def test_groups_are_named_after_their_modules(model, names):
    assert group_names(model) == names.split()


@pytest.mark.parametrize(
    ("model", "parameter"),
    [
        ("vit_small_patch16_rope_mixed_224", "rope.freqs"),
        ("vit_srelpos_small_patch16_224", "shared_rel_pos.mlp.fc1.weight"),
    ],
)
@pytest.mark.parametrize("coarse", [True, False])
def test_a_position_embedding_that_all_blocks_read_is_in_the_first_group(model, parameter, coarse):
    with torch.device("meta"):
        network = timm.create_model(model, num_classes=0)
    groups = layer_groups_of(network, coarse=coarse)
    assert parameter in next(iter(groups.values()))


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("poolformerv2_s12", "stem stages.0 stages.1 stages.2 stages.3 head.norm"),
        ("pit_ti_224", "stem transformers.0 transformers.1 transformers.2 norm"),
    ],
)
def test_a_network_without_patterns_has_the_parts_of_its_lists_as_groups(model, names):
    with torch.device("meta"):
        network = timm.create_model(model, num_classes=0)
    assert list(layer_groups_of(network, coarse=True)) == names.split()


def test_a_list_of_single_layers_is_one_group_and_parameters_of_the_network_are_in_the_first():
    network = nn.Module()
    network.scale = nn.Parameter(torch.ones(1))
    network.stages = nn.ModuleList([nn.Sequential(nn.Linear(2, 2)) for _ in range(2)])
    network.neck = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU())
    groups = layer_groups_of(network, coarse=True)
    assert list(groups) == ["stem", "stages.1", "neck"]
    assert groups["stem"] == ["scale", "stages.0.0.weight", "stages.0.0.bias"]


def test_fine_groups_are_named_after_their_blocks():
    assert group_names("resnet18", coarse=False)[:4] == ["stem", "layer1.0", "layer1.1", "layer2.0"]


def test_fine_groups_stand_in_for_missing_coarse_ones_and_this_is_said(caplog):
    with caplog.at_level(logging.INFO, logger="tltool"), torch.device("meta"):
        backbone = Backbone("rdnet_tiny", weights="random")
    assert list(backbone.layer_groups())[:2] == ["stem", "dense_stages.0"]
    assert caplog.messages == [
        "rdnet_tiny has no coarse layer groups in timm: its fine ones are its groups."
    ]


def test_groups_that_would_share_a_name_are_numbered():
    groups = {0: ["a.x.weight"], 1: ["a.x.bias"], 2: ["a.x.scale"]}
    assert list(name_groups(groups)) == ["a.x", "a.x_2", "a.x_3"]


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext", "test_nfnet"]
)
def test_groups_of_a_task_are_a_partition_that_ends_with_the_head(make_task, name):
    task = make_task(name)
    groups = layer_groups(task)
    names = [name for members in groups.values() for name in members]
    assert sorted(names) == sorted(name for name, _ in task.named_parameters())
    assert list(groups)[-1] == "head"


def test_a_parameter_outside_backbone_and_head_is_refused(make_task):
    task = make_task()
    task.temperature = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r"'temperature.weight' is in no layer group. Put it"):
        layer_groups(task)


def test_a_backbone_that_compilation_has_renamed_is_refused(make_task):
    task = make_task()
    task.backbone = torch.compile(task.backbone)
    with pytest.raises(ValueError, match=r"Compile in place, by `module.compile\(\)`"):
        layer_groups(task)


def test_a_parameter_in_two_groups_is_refused(make_task):
    task = make_task()
    groups = task.backbone.layer_groups()
    groups["layer1"] = groups["layer1"] + groups["layer2"][:1]
    task.backbone.layer_groups = lambda: groups
    with pytest.raises(ValueError, match=r"more than one layer group: backbone.layer1, backbone.l"):
        layer_groups(task)


def test_a_name_that_is_no_parameter_is_refused(make_task):
    task = make_task()
    task.backbone.layer_groups = lambda: {"stem": ["conv_1.weight"]} | Backboneless.groups(task)
    with pytest.raises(ValueError, match="no parameter of the model"):
        layer_groups(task)


class Backboneless:
    @staticmethod
    def groups(task):
        return {"rest": [name for name, _ in task.backbone.named_parameters()]}


def test_a_head_without_parameters_is_no_group(make_task):
    task = make_task()
    task.head = nn.Identity()
    assert "head" not in layer_groups(task)


def test_what_surgery_put_first_in_a_module_lies_in_its_group():
    layers = {"a": nn.Linear(2, 2), "b": nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))}
    model = nn.ModuleDict(layers)
    own = [name for name, _ in model.named_parameters()]
    model["b"][0] = nn.Sequential(nn.BatchNorm1d(2))
    groups = layer_groups_of(model, coarse=True, own=own)
    assert groups["b"] == ["b.0.0.weight", "b.0.0.bias", "b.1.weight", "b.1.bias"]
