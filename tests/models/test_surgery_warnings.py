import logging

import pytest
import torch

from tltool.models.backbone import Backbone
from tltool.models.serialization import rebuild


def edited(to, name="test_resnet"):
    return Backbone(name, weights="random", surgery=[{"swap_activations": to}])


@pytest.fixture
def warned(caplog):
    caplog.set_level(logging.WARNING, logger="tltool")
    return lambda: caplog.messages


@pytest.mark.parametrize("to", ["sigmoid", "tanh", {"to": "hardtanh"}])
def test_a_saturating_activation_in_the_backbone_is_said(warned, to):
    edited(to)
    (warning,) = warned()
    assert "in hidden layers saturates" in warning
    assert "Swap for another, such as silu" in warning


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_selu_in_a_backbone_with_norms_is_said(warned, name):
    edited("selu", name)
    (warning,) = warned()
    assert "selu normalizes by itself, and a norm undoes that" in warning


@pytest.mark.parametrize("to", ["gelu", "relu", "prelu", "hardswish"])
def test_a_sound_edit_gets_no_warning(warned, to):
    edited(to)
    assert warned() == []


def test_a_backbone_rebuilt_from_its_description_says_nothing_again(warned, caplog):
    description = edited("tanh").description
    caplog.clear()
    rebuild(description)
    assert warned() == []


@pytest.mark.parametrize(
    ("stop", "expected"), [("block2.rep.0", ("forward_intermediates.relu",)), (None, ())]
)
def test_an_activation_behind_the_layer_to_stop_at_is_out_of_reach(stop, expected):
    with torch.device("meta"):
        edits = [{"swap_activations": "gelu"}]
        backbone = Backbone("legacy_xception", "random", stop_at=stop, surgery=edits)
    assert backbone.surgery_reports[0].out_of_reach == expected
