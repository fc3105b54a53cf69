"""What no feature depends on is no parameter, so that DDP has a gradient for each."""

import logging

import pytest
import timm
import torch

from tltool.models.backbone import Backbone
from tltool.models.group_names import find_group_names
from tltool.models.unused_parameters import modules_of

STOPS = {"crossvit_tiny_240": "blocks.1", "coat_tiny": "parallel_blocks"}


def without_gradient(backbone):
    images = torch.randn(2, *backbone.data_config["input_size"])
    backbone.train().requires_grad_(True)(images).sum().backward()
    return [name for name, parameter in backbone.named_parameters() if parameter.grad is None]


@pytest.mark.slow
@pytest.mark.parametrize("name", STOPS)
def test_each_parameter_of_a_network_that_stops_early_gets_a_gradient(name):
    assert without_gradient(Backbone(name, "random", stop_at=STOPS[name])) == []


@pytest.mark.slow
def test_each_parameter_of_hrnet_gets_a_gradient():
    backbone = Backbone("hrnet_w18_small", "random", stop_at="stage3", img_size=64)
    assert without_gradient(backbone) == []


def test_a_whole_network_has_no_unused_parameter_either():
    with torch.device("meta"):
        backbone = Backbone("efficientvim_m1", weights="random")
    buffers = dict(backbone.named_buffers())
    assert "model.weights" in buffers
    assert "model.weights" not in dict(backbone.named_parameters())


def test_keys_of_the_state_dict_stay():
    with torch.device("meta"):
        pruned = timm.create_model("crossvit_tiny_240", num_classes=0)
        pruned.prune_intermediate_layers([1], prune_norm=True, prune_head=True)
        backbone = Backbone("crossvit_tiny_240", "random", stop_at="blocks.1")
    assert backbone.model.state_dict().keys() == pruned.state_dict().keys()


def test_what_surgery_adds_there_is_unused_too():
    edits = [{"swap_activations": "prelu"}, {"add_lora": 4}]
    backbone = Backbone("crossvit_tiny_240", "random", stop_at="blocks.1", surgery=edits)
    assert without_gradient(backbone) == []


def test_they_are_named(caplog):
    with caplog.at_level(logging.INFO, logger="tltool"), torch.device("meta"):
        Backbone("coat_tiny", "random", stop_at="parallel_blocks")
    expected = "depends on 4 of its parameters (parallel_blocks.5.norm23, parallel_blocks.5.norm24)"
    assert expected in caplog.messages[-1]


def test_a_module_whose_parameters_are_all_unused_stands_for_them():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    assert modules_of(model, ["0.weight", "0.bias", "1.bias"]) == ["0", "1.bias"]


def test_group_names_without_building_leave_them_out():
    with torch.device("meta"):
        backbone = Backbone("efficientvim_m1", "random", stop_at="stages.1")
    assert find_group_names("efficientvim_m1", stop_at="stages.1") == list(backbone.layer_groups())
