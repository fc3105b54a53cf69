import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tltool.models.weights.local_weights import model_of_file, weights_files
from tltool.models.weights.state_dict_files import read_file


def test_a_missing_file_is_named_with_the_other_sources(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no weights file .*package:NAME, to pretrained .* or to random"
    ):
        read_file(tmp_path / "no.pth")


def test_a_pickled_object_is_not_unpickled(tmp_path):
    torch.save({"state_dict": {"a": object()}}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"does not unpickle it. Save `model.state_dict\(\)`"):
        read_file(tmp_path / "evil.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_text_file_is_no_weights_file(tmp_path, suffix):
    path = tmp_path / f"text{suffix}"
    path.write_text("these are no weights")
    with pytest.raises(ValueError, match="text"):
        read_file(path)


def test_an_unknown_suffix_lists_those_that_are_read(tmp_path):
    (tmp_path / "weights.h5").touch()
    with pytest.raises(ValueError, match=r"'.h5'; tltool reads .safetensors, .pth"):
        read_file(tmp_path / "weights.h5")


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s}])
def test_a_state_dict_is_found_under_the_usual_keys(tmp_path, wrap):
    torch.save(wrap({"module.a": torch.ones(2)}), tmp_path / "weights.pth")
    assert list(read_file(tmp_path / "weights.pth")) == ["a"]


def test_of_an_own_checkpoint_the_backbone_is_taken(tmp_path):
    state_dict = {"backbone.model.a": torch.ones(2), "head.weight": torch.ones(2)}
    torch.save({"state_dict": state_dict}, tmp_path / "best.ckpt")
    assert list(read_file(tmp_path / "best.ckpt")) == ["a"]


SUFFIXES = [".PTH", ".pth.tar", ".Pt", ".BIN", ".CKPT", ".tar", ".model", ""]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_pytorch_file_is_read_whatever_its_suffix(tmp_path, suffix):
    torch.save({"a": torch.ones(2)}, tmp_path / f"weights{suffix}")
    assert list(read_file(tmp_path / f"weights{suffix}")) == ["a"]


def test_an_upper_case_safetensors_file_is_read(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "WEIGHTS.SAFETENSORS")
    assert list(read_file(tmp_path / "WEIGHTS.SAFETENSORS")) == ["a"]


def test_upper_case_suffixes_and_archives_are_listed_in_a_folder(tmp_path):
    for name in ("a.PTH", "b.pth.tar", "c.tar.gz", "d.safetensors.sha256"):
        (tmp_path / name).touch()
    assert [path.name for path in weights_files(tmp_path)] == ["a.PTH", "b.pth.tar"]
    assert model_of_file(Path("resnet18.a1_in1k.pth.tar")) == "resnet18.a1_in1k"


@pytest.fixture
def sharded(tmp_path):
    """A folder with weights in two files and their index."""
    for name in "ab":
        save_file({name: torch.ones(2)}, tmp_path / f"model-{name}.safetensors")
    index = {"weight_map": {name: f"model-{name}.safetensors" for name in "ab"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


@pytest.mark.parametrize("name", ["", "model.safetensors.index.json"])
def test_shards_are_put_together(sharded, name):
    assert sorted(read_file(sharded / name)) == ["a", "b"]


def test_a_missing_shard_is_named(sharded):
    (sharded / "model-b.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"not beside it: model-b\.safetensors\. Copy"):
        read_file(sharded)


@pytest.mark.parametrize("text", ["<html>", "[]", "{}", '{"weight_map": 3}'])
def test_a_damaged_index_is_refused(sharded, text):
    (sharded / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ValueError, match="is no index of weights in several files"):
        read_file(sharded)


def test_a_folder_of_the_hub_gives_its_weights(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert list(read_file(tmp_path)) == ["a"]


def test_a_folder_without_weights_names_what_could_be_meant(tmp_path):
    (tmp_path / "best.ckpt").touch()
    with pytest.raises(
        IsADirectoryError, match=r"is a folder .* to a file, such as '.*best\.ckpt'"
    ):
        read_file(tmp_path)


def test_an_address_is_told_to_be_downloaded():
    with pytest.raises(FileNotFoundError, match="Download it first"):
        read_file("https://example.org/weights.pth")


def test_a_name_that_cannot_be_a_file_is_refused():
    with pytest.raises(OSError, match="cannot be found: File name too long"):
        read_file("a" * 5000)
