"""Files of what training has changed beside pretrained weights."""

import pytest
import torch

from tltool.models.backbone import Backbone
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
