"""Files of what training has changed beside pretrained weights."""

import pytest
import torch

from tltool.models.backbone import Backbone
from tltool.models.weights.safetensors_file import save_weights
from tltool.models.weights_hash import hash_weights
from tltool.training.adapter_file import read_adapters, write_adapters


@pytest.mark.parametrize("edit", [{"add_lora": 2}, {"reinitialize": [-1]}, "fold_norms"])
def test_a_file_gives_the_weights_it_was_written_from(tmp_path, edit):
    torch.save(Backbone("test_resnet", weights="random").model.state_dict(), tmp_path / "own.pth")
    backbone = Backbone("test_resnet", weights=str(tmp_path / "own.pth"), surgery=[edit])
    state = {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
    write_adapters(tmp_path / "a.safetensors", {"backbone": backbone.description}, state, {})
    _, read = read_adapters(tmp_path / "a.safetensors")
    assert read.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in read.items())


def test_layers_that_the_weights_lack_are_in_the_file(tmp_path):
    weights = Backbone("test_resnet", weights="random").model.state_dict()
    known = {key: value for key, value in weights.items() if not key.startswith("layer4")}
    torch.save(known, tmp_path / "own.pth")
    options = {"allow_partial": ["layer4.*"], "surgery": [{"add_lora": 2}]}
    backbone = Backbone("test_resnet", weights=str(tmp_path / "own.pth"), **options)
    state = {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
    write_adapters(tmp_path / "a.safetensors", {"backbone": backbone.description}, state, {})
    _, read = read_adapters(tmp_path / "a.safetensors")
    assert read.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in read.items())


def test_a_file_with_a_hash_of_all_pretrained_weights_is_read(tmp_path):
    torch.save(Backbone("test_resnet", weights="random").model.state_dict(), tmp_path / "own.pth")
    base = Backbone("test_resnet", weights=str(tmp_path / "own.pth"))
    changed = {"backbone.model.conv1.0.weight": torch.ones(24, 3, 3, 3)}
    facts = {"task_config": {"backbone": base.description}, "base_hash": hash_weights(base)}
    save_weights(tmp_path / "a.safetensors", changed, facts)
    _, read = read_adapters(tmp_path / "a.safetensors")
    assert read["backbone.model.conv1.0.weight"].eq(1).all()
