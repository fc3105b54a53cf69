"""A folder that timm loads without tltool, or the edit that forbids it."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from timm.data.config import resolve_model_data_config

from tltool.inference.export import timm_folder
from tltool.inference.export.agreement import compare, example_images
from tltool.inference.export.timm_folder import write_timm
from tltool.models.backbone import Backbone
from tltool.models.timm_classifier import load_timm_folder, timm_classifier

WITHOUT_TLTOOL = """
import sys
class Refuse:
    def find_spec(self, name, *args):
        if name.partition(".")[0] == "tltool": raise ImportError("tltool is not here")
sys.meta_path.insert(0, Refuse())
import timm, torch
model = timm.create_model(f"local-dir:{sys.argv[1]}", pretrained=True).eval()
torch.save(model(torch.load(sys.argv[2])).detach(), sys.argv[3])
"""

WORKS = {
    "linear": {},
    "own linear head": {"head": torch.nn.Linear},
    "input norm batch": {"head": {"input_norm": "batch"}},
    "input norm whiten": {"head": {"input_norm": "whiten", "dropout": 0.2}},
    "adapters": {"surgery": [{"add_lora": {"rank": 2}}]},
    "reinitialized": {"surgery": [{"reinitialize": [-1]}]},
    "statistics": {"surgery": [{"reestimate_statistics": {"blend": 0.1}}]},
    "gray": {"in_chans": 1},
    "no square": {"img_size": [32, 64]},
    "transformer of another size": {"name": "test_vit", "img_size": 64},
    "classifier behind a norm": {"name": "test_convnext"},
    "several labels": {"objective": "multi_label"},
    "drop rates": {"drop_path_rate": 0.1},
    "drop rates of one model": {"name": "test_vit", "model_args": {"attn_drop_rate": 0.1}},
    "growth rate": {
        "name": "densenet121",
        "model_args": {"growth_rate": 8, "block_config": [1, 1, 1, 1]},
    },
}

FORBIDDEN = {
    "`head.hidden_features: [8]`": {"head": {"hidden_features": [8]}},
    "`head.input_norm: l2`": {"head": {"input_norm": "l2"}},
    "`surgery: swap_activations`": {"surgery": [{"swap_activations": "gelu"}]},
    "`surgery: fold_norms`": {"surgery": ["fold_norms"]},
    "`surgery: remove_norms`": {"surgery": ["remove_norms"]},
    "`surgery: replace_norms`": {"surgery": [{"replace_norms": "group"}]},
    "`surgery: add_norms`": {"surgery": ["add_norms"], "name": "test_vit"},
    "`stop_at: layer2`": {"stop_at": "layer2"},
    "no backbone pixels": {"name": "pixels"},
}


@pytest.mark.parametrize("options", WORKS.values(), ids=WORKS)
def test_timm_gives_the_logits_of_the_checkpoint(make_predictor, tmp_path, options):
    predictor = make_predictor(**options)
    write_timm(predictor, tmp_path / "model")
    assert compare(predictor.task, load_timm_folder(tmp_path / "model")).difference < 1e-3


def test_timm_gives_the_numbers_of_a_regression_in_units_of_the_target(make_predictor, tmp_path):
    predictor = make_predictor(objective="regression")
    write_timm(predictor, tmp_path / "model")
    images, task = example_images(predictor.task), predictor.task
    found = load_timm_folder(tmp_path / "model")(images)
    torch.testing.assert_close(found, task.predictions(task(images)))


@pytest.mark.parametrize(("reason", "options"), FORBIDDEN.items(), ids=FORBIDDEN)
def test_what_timm_cannot_build_is_named_with_formats_that_can(
    make_predictor, tmp_path, reason, options
):
    with pytest.raises(ValueError, match=r"--to torch-export or --to onnx") as refusal:
        write_timm(make_predictor(**options), tmp_path / "model")
    assert reason in str(refusal.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("reason", "config"),
    [
        ("no `data.preprocessing: mean_image`", {"mean_image": "a PNG in base 64"}),
        ("no `data.value_range: [0.0, 4095.0]`", {"value_range": [0.0, 4095.0]}),
    ],
)
def test_a_preprocessing_that_timm_cannot_do_is_refused(make_predictor, tmp_path, reason, config):
    predictor = make_predictor()
    predictor.task.data_config |= config
    with pytest.raises(ValueError, match=re.escape(reason)):
        write_timm(predictor, tmp_path / "model")
    assert not [*tmp_path.iterdir()]


def test_all_reasons_are_named_at_once(make_predictor, tmp_path):
    predictor = make_predictor(stop_at="layer2", head={"hidden_features": [8]})
    with pytest.raises(ValueError, match=r"no `stop_at: layer2`, no `head.hidden_features: \[8\]`"):
        write_timm(predictor, tmp_path / "model")


@pytest.mark.slow
def test_a_classifier_of_timm_that_is_not_linear_is_refused(make_predictor, tmp_path):
    predictor = make_predictor(name="levit_128s", img_size=224)
    with pytest.raises(ValueError, match="this levit_128s, for it knows no linear classifier"):
        write_timm(predictor, tmp_path / "model")


def test_a_classifier_without_bias_is_refused(make_predictor):
    with pytest.raises(ValueError, match="no classifier without bias"):
        timm_classifier(make_predictor().task.backbone, torch.nn.Linear(96, 3, bias=False))


@pytest.mark.slow
def test_a_process_without_tltool_loads_the_folder(make_predictor, tmp_path):
    predictor = make_predictor(head={"input_norm": "standardize"})
    write_timm(predictor, tmp_path / "model")
    images, logits = tmp_path / "images.pt", tmp_path / "logits.pt"
    torch.save(example_images(predictor.task), images)
    places = [str(tmp_path / "model"), str(images), str(logits)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", WITHOUT_TLTOOL, *places]
    subprocess.run(command, check=True, env=environment, timeout=120)
    expected = predictor.task(example_images(predictor.task)).detach()
    torch.testing.assert_close(torch.load(logits), expected, atol=1e-4, rtol=1e-4)


def test_the_folder_prepares_images_as_the_checkpoint_does(make_predictor, tmp_path):
    predictor = make_predictor(in_chans=1)
    predictor.task.data_config |= {"mean": [0.2], "crop_pct": 0.8, "interpolation": "bilinear"}
    write_timm(predictor, tmp_path / "model")
    found = resolve_model_data_config(load_timm_folder(tmp_path / "model"))
    kept = {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}
    assert kept == predictor.task.data_config


def test_the_folder_knows_the_classes_and_claims_no_license_of_timms_weights(
    make_predictor, tmp_path
):
    write_timm(make_predictor(), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["label_names"] == ["ants", "bees", "wasps"]
    assert config["num_classes"] == 3
    assert not {"license", "tag", "origin_url", "paper_ids"} & config["pretrained_cfg"].keys()


def test_the_folder_comes_in_again_as_it_left(make_predictor, tmp_path):
    predictor = make_predictor(in_chans=1, img_size=64, name="test_vit")
    predictor.task.data_config |= {"mean": [0.2]}
    write_timm(predictor, tmp_path / "model")
    backbone = Backbone(f"local-dir:{tmp_path / 'model'}", in_chans=1).eval()
    images = example_images(predictor.task)
    torch.testing.assert_close(backbone(images), predictor.task.backbone(images))
    assert backbone.data_config["mean"] == [0.2]
    assert backbone.data_config["input_size"] == [1, 64, 64]


def test_a_folder_that_disagrees_is_not_kept(make_predictor, tmp_path, monkeypatch):
    def other(folder):
        model = load_timm_folder(folder)
        torch.nn.init.zeros_(model.get_classifier().weight)
        return model

    monkeypatch.setattr(timm_folder, "load_timm_folder", other)
    with pytest.raises(ValueError, match="timm's model gives other outputs"):
        write_timm(make_predictor(), tmp_path / "model")
    assert not [*tmp_path.iterdir()]
