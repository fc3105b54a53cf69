"""Licenses of weights: from timm, from packages, from what files and folders say themselves."""

import json

import pytest
import timm
import torch

from tltool.models.weights.safetensors_file import save_weights
from tltool.models.weights.weights_license import weights_license


def test_weights_of_timm_have_the_license_that_timm_names():
    expected = timm.models.get_pretrained_cfg("test_resnet.r160_in1k").license
    assert weights_license("test_resnet.r160_in1k", "pretrained") == expected == "apache-2.0"


@pytest.mark.parametrize(("written", "license_name"), [("mit", "mit"), ("unknown", None)])
def test_a_file_has_the_license_that_it_names(tmp_path, written, license_name):
    file = tmp_path / "model.safetensors"
    save_weights(file, {"a": torch.zeros(1)}, {"license": written})
    assert weights_license("test_resnet", str(file)) == license_name


def test_a_folder_of_timm_has_the_license_of_its_config(tmp_path):
    config = {"architecture": "test_resnet", "pretrained_cfg": {"license": "mit"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert weights_license("test_resnet", f"local-dir:{tmp_path}") == "mit"


def test_what_is_not_known_has_none(tmp_path):
    assert weights_license("test_resnet", "package:of-a-stranger") is None
    assert weights_license("test_resnet", str(tmp_path / "gone.pth")) is None
    assert weights_license("test_resnet", f"local-dir:{tmp_path}") is None
