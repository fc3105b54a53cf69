"""Weights that hold NaN or infinity are found by name; what may hold them is left alone."""

import pytest
import torch
from torch import nn

from tltool.layers.fitted_norms import Standardize
from tltool.models.backbone import Backbone
from tltool.models.non_finite import non_finite_tensors


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_parameter_that_is_no_number_is_found(value):
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight[0, 1] = value
    assert non_finite_tensors(layer) == ["weight"]


def test_running_statistics_that_are_no_numbers_are_found():
    norm = nn.BatchNorm2d(2)
    norm.running_var[0] = torch.inf
    assert non_finite_tensors(norm) == ["running_var"]


def test_an_attention_mask_may_hold_minus_infinity():
    layer = nn.Linear(2, 2)
    layer.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    assert non_finite_tensors(layer) == []


@pytest.mark.parametrize(("value", "found"), [(torch.inf, []), (torch.nan, ["bound"])])
def test_a_bound_may_be_infinite(value, found):
    layer = nn.Linear(2, 2)
    layer.register_buffer("bound", torch.tensor(value))
    assert non_finite_tensors(layer) == found


def test_a_norm_that_waits_for_its_features_is_no_fault():
    assert non_finite_tensors(nn.Sequential(Standardize(2))) == []


def test_half_precision_and_integers_and_nothing_are_looked_at():
    model = nn.Sequential(nn.Linear(2, 2).half(), nn.BatchNorm1d(2))
    model.register_buffer("empty", torch.zeros(0))
    assert non_finite_tensors(model) == []


def test_what_is_frozen_is_left_out_where_only_what_trains_is_asked_for():
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.requires_grad_(False).weight, torch.nan)
    assert non_finite_tensors(layer, trained_only=True) == []


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_weights_file_with_a_number_that_is_none_is_refused_by_name(tmp_path, value):
    weights = Backbone("test_resnet", weights="random").model.state_dict()
    weights["layer2.0.conv1.weight"][0, 0, 0, 0] = value
    torch.save(weights, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 tensor: layer2\.0\.conv1\.weight"):
        Backbone("test_resnet", weights=str(tmp_path / "weights.pth"))
