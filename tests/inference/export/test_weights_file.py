"""A checkpoint as one safetensors file, which tltool loads in its place."""

import pytest
import torch

import tltool
from tltool.inference.export import weights_file
from tltool.inference.export.agreement import example_images
from tltool.inference.export.weights_file import write_weights
from tltool.models.backbone import Backbone
from tltool.training.calibration import Calibration

CASES = {
    "linear": {},
    "hidden layers": {"head": {"hidden_features": [8], "norm": "batch", "activation": "maxout"}},
    "input norm": {"head": {"input_norm": "whiten"}},
    "adapters": {"surgery": [{"add_lora": {"rank": 2}}]},
    "matched swap": {"surgery": [{"swap_activations": {"to": "elu", "match": "moments"}}]},
    "replaced norms": {"surgery": [{"replace_norms": "group"}]},
    "removed norms": {"surgery": ["remove_norms"]},
    "folded norms": {"surgery": ["fold_norms"]},
    "added norms": {"surgery": ["add_norms"], "name": "test_vit"},
    "reinitialized": {"surgery": [{"reinitialize": [-1]}]},
    "early stop": {"stop_at": "layer2"},
    "gray": {"in_chans": 1},
    "pixels": {"name": "pixels"},
    "several labels": {"objective": "multi_label"},
    "a number": {"objective": "regression"},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_tltool_loads_the_file_as_the_checkpoint(make_predictor, tmp_path, options):
    predictor = make_predictor(**options)
    write_weights(predictor, tmp_path / "model.safetensors")
    loaded, images = tltool.load(tmp_path / "model.safetensors"), example_images(predictor.task)
    torch.testing.assert_close(loaded.task(images), predictor.task(images), atol=1e-4, rtol=1e-4)
    assert loaded.class_names == predictor.class_names
    assert loaded.task.thresholds == predictor.task.thresholds


def test_adapters_are_merged_and_described_no_longer(make_predictor, tmp_path):
    predictor = make_predictor(surgery=[{"add_lora": {"rank": 2}}])
    write_weights(predictor, tmp_path / "model.safetensors")
    assert tltool.load(tmp_path / "model.safetensors").task.backbone.surgery == []
    assert predictor.task.backbone.surgery == [{"add_lora": {"rank": 2}}]


def test_the_file_is_a_source_of_weights(make_predictor, tmp_path):
    predictor = make_predictor()
    predictor.task.data_config |= {"mean": [0.1, 0.2, 0.3]}
    write_weights(predictor, tmp_path / "model.safetensors")
    file = str(tmp_path / "model.safetensors")
    backbone = Backbone("test_resnet", weights=file, img_size=32).eval()
    images = example_images(predictor.task)
    torch.testing.assert_close(backbone(images), predictor.task.backbone(images))
    assert backbone.data_config["mean"] == [0.1, 0.2, 0.3]


def test_a_name_in_upper_case_is_loaded_too(make_predictor, tmp_path):
    write_weights(make_predictor(), tmp_path / "MODEL.SAFETENSORS")
    assert tltool.load(tmp_path / "MODEL.SAFETENSORS").class_names == ["ants", "bees", "wasps"]


def test_a_file_that_was_changed_is_refused(make_predictor, tmp_path):
    path = tmp_path / "model.safetensors"
    write_weights(make_predictor(), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or was changed: its checksum is"):
        tltool.load(path)


def test_what_probabilities_rest_on_goes_along(make_predictor, tmp_path):
    predictor = make_predictor()
    predictor.task.calibration = Calibration(temperature=1.5, split="val", num_images=90)
    write_weights(predictor, tmp_path / "model.safetensors")
    found = tltool.load(tmp_path / "model.safetensors").task.calibration
    assert (found.temperature, found.num_images) == (1.5, 90)


def test_a_damaged_file_is_named(make_predictor, tmp_path):
    file = tmp_path / "model.safetensors"
    write_weights(make_predictor(), file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model.safetensors"):
        tltool.load(file)


def test_a_file_that_disagrees_is_not_kept(make_predictor, tmp_path, monkeypatch):
    def other(path):
        config, state = read(path)
        return config, {
            **state,
            "head.output.weight": torch.zeros_like(state["head.output.weight"]),
        }

    read = weights_file.read_task
    monkeypatch.setattr(weights_file, "read_task", other)
    with pytest.raises(ValueError, match="The rebuilt task gives other outputs"):
        write_weights(make_predictor(), tmp_path / "model.safetensors")
    assert not [*tmp_path.iterdir()]
