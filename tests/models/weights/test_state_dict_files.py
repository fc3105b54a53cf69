import pytest
import torch

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
