"""A network of another tool, through training, resume and prediction."""

import pytest
import timm
import torch
from timm.models._hub import save_for_hf

import tltool
from tests.conftest import write_images
from tltool.__main__ import main
from tltool.models.backbone import Backbone

RUN = [
    *("fit", "--trainer.accelerator", "cpu", "--data.num_workers", "0", "--data.batch_size", "4"),
    *("--health.enabled", "false", "--finetuning", "LinearProbe"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one epoch on a network that timm saved, whose folder was moved then."""
    folder = tmp_path_factory.mktemp("run")
    write_images(folder / "images", per_class=4, size=32)
    network = timm.create_model("test_vit", img_size=32, global_pool="avg")
    save_for_hf(network, folder / "network", safe_serialization=True)
    fit(folder, "network", "--trainer.max_epochs", "1")
    (folder / "network").rename(folder / "moved")
    return folder


def fit(folder, network, *words):
    places = ["--data.root", folder / "images", "--runs_dir", folder / "runs"]
    source = ["--model.backbone", f"local-dir:{folder / network}"]
    return main([str(word) for word in [*RUN, *places, *source, *words]])


def test_a_run_is_resumed_with_a_folder_that_has_moved(run):
    last = run / "runs/images/0/checkpoints/last.ckpt"
    assert fit(run, "moved", "--trainer.max_epochs", "2", "--ckpt_path", last) == 0


def test_predictions_need_the_folder_no_more(run, tmp_path):
    best = run / "runs/images/0/checkpoints/best.ckpt"
    words = ["predict", run / "images", "--ckpt_path", best, "--output", tmp_path / "out.csv"]
    assert main([str(word) for word in [*words, "--trainer.accelerator", "cpu"]]) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 9


@pytest.mark.parametrize(("form", "source"), [("timm", "local-dir:{}"), ("safetensors", "{}")])
def test_an_export_comes_back_in_as_weights(run, tmp_path, form, source):
    best = run / "runs/images/0/checkpoints/best.ckpt"
    output = tmp_path / ("network" if form == "timm" else "network.safetensors")
    assert main(["export", str(best), "--to", form, "--output", str(output)]) == 0
    trained = tltool.load(best).to("cpu").task.backbone.eval()
    options = {"img_size": 32, "model_args": {"global_pool": "avg"}} if form != "timm" else {}
    backbone = Backbone("test_vit", source.format(output), **options).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(backbone(images), trained(images))
    assert backbone.data_config["mean"] == trained.data_config["mean"]
