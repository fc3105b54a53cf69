"""Shares of the forward pass by layer group."""

import copy

import pytest
import torch
from torch import nn

from tltool.models.backbone import Backbone
from tltool.models.forward_compute import forward_shares


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_efficientnet", "test_vit", "test_vit3", "test_convnext"]
)
def test_shares_of_a_backbone_sum_to_one_in_the_order_of_its_groups(name):
    backbone = Backbone(name, weights="random")
    images = torch.zeros(1, *backbone.data_config["input_size"])
    shares = forward_shares(backbone, backbone.layer_groups(), images)
    assert list(shares) == list(backbone.layer_groups())
    assert sum(shares.values()) == pytest.approx(1)
    assert sum(share > 0 for share in shares.values()) >= 3


def test_a_network_that_keeps_what_it_computes_can_be_copied_afterwards():
    backbone = Backbone("levit_128s", weights="random")
    forward_shares(backbone, backbone.layer_groups(), torch.zeros(1, 3, 224, 224))
    copy.deepcopy(backbone)


def test_inference_mode_of_the_caller_is_no_obstacle():
    backbone = Backbone("test_vit3", weights="random")
    images = torch.zeros(1, *backbone.data_config["input_size"])
    with torch.inference_mode():
        shares = forward_shares(backbone, backbone.layer_groups(), images)
    assert sum(shares.values()) == pytest.approx(1)
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_each_operation_is_counted_once_though_modules_nest():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 8)))
    groups = {
        "a": ["0.weight", "0.bias"],
        "b": ["1.0.weight", "1.0.bias", "1.1.weight", "1.1.bias"],
    }
    assert forward_shares(model, groups, torch.zeros(1, 4)) == {"a": 0.25, "b": 0.75}


def test_modes_and_statistics_stay():
    backbone = Backbone("test_resnet", weights="random")
    backbone.model.layer1.eval()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    modes = [module.training for module in backbone.modules()]
    forward_shares(backbone, backbone.layer_groups(), torch.randn(1, 3, 32, 32))
    assert [module.training for module in backbone.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
