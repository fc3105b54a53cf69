import subprocess

import pytest
import torch

from tltool.models.backbone import Backbone
from tltool.models.weights.safetensors_file import read_description, save_weights
from tltool.models.weights_download import fetch_weights


def test_a_fetched_file_gives_the_same_features(cached_resnet, tmp_path):
    fetched = fetch_weights("test_resnet", tmp_path / "weights")
    backbone = Backbone(fetched.name, str(fetched.path), channels_last=False).eval()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(backbone(images), cached_resnet(images))


def test_a_fetched_file_has_its_tag_its_preprocessing_and_no_classifier(cached_resnet, tmp_path):
    fetched = fetch_weights("test_resnet", tmp_path)
    description = read_description(fetched.path)
    assert fetched.path.name == "test_resnet.r160_in1k.safetensors"
    assert description["name"] == "test_resnet.r160_in1k"
    assert description["data_config"] == cached_resnet.data_config


def test_the_checksum_is_one_for_sha256sum(cached_resnet, tmp_path):
    fetched = fetch_weights("test_resnet", tmp_path / "weights")
    check = ["sha256sum", "-c", f"{fetched.path.name}.sha256"]
    assert subprocess.run(check, cwd=fetched.path.parent, check=False).returncode == 0
    assert sorted(p.name for p in fetched.path.parent.iterdir()) == [
        "test_resnet.r160_in1k.safetensors",
        "test_resnet.r160_in1k.safetensors.sha256",
    ]


def test_a_damaged_file_is_refused(cached_resnet, tmp_path):
    path = fetch_weights("test_resnet", tmp_path).path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged or was changed.* Copy or fetch it again"):
        Backbone("test_resnet", str(path))


def test_without_a_network_nothing_is_written(caches):
    with pytest.raises(ConnectionError, match=r"nothing was written. Type .* on a machine with"):
        fetch_weights("test_resnet", caches / "weights")
    assert not (caches / "weights").exists()


def test_a_model_without_weights_cannot_be_fetched(caches):
    with pytest.raises(ValueError, match="timm has no pretrained weights"):
        fetch_weights("vit_giant_patch14_224", caches)


def test_a_file_is_no_folder_to_fetch_to(cached_resnet, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="Name one after --to"):
        fetch_weights("test_resnet", tmp_path / "file")


def saved(tmp_path, **data_config):
    """A file with the weights of a small ResNet that says how to prepare images."""
    state_dict = Backbone("test_resnet", weights="random").model.state_dict()
    path = tmp_path / "own.safetensors"
    save_weights(path, state_dict, {"name": "test_resnet", "data_config": data_config})
    return str(path)


def test_a_file_brings_its_own_preprocessing(tmp_path):
    path = saved(tmp_path, mean=[0.1, 0.2, 0.3], crop_pct=0.5, input_size=[3, 96, 96])
    config = Backbone("test_resnet", path).data_config
    assert (config["mean"], config["crop_pct"]) == ([0.1, 0.2, 0.3], 0.5)
    assert config["input_size"] == [3, 96, 96]


def test_the_users_size_is_stronger_than_the_files(tmp_path):
    path = saved(tmp_path, input_size=[3, 96, 96])
    assert Backbone("test_resnet", path, img_size=64).data_config["input_size"] == [3, 64, 64]


def test_a_file_of_another_model_names_its_model(tmp_path):
    with pytest.raises(ValueError, match=r"Set --model.backbone.name test_resnet"):
        Backbone("test_vit", saved(tmp_path))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "old.safetensors"
    save_weights(path, {"a": torch.ones(2)}, {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(path, {"a": torch.zeros(2)}, {"name": object()})
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_new_file_takes_the_place_of_the_old_one_at_once(tmp_path):
    path = tmp_path / "old.safetensors"
    save_weights(path, {"a": torch.ones(2)}, {})
    before = path.read_bytes()
    (tmp_path / "link").hardlink_to(path)  # Sees any change in place.
    save_weights(path, {"a": torch.zeros(2)}, {})
    assert (tmp_path / "link").read_bytes() == before != path.read_bytes()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Cannot write the weights .* Name another folder"):
        save_weights(tmp_path / "file" / "a.safetensors", {"a": torch.ones(2)}, {})
