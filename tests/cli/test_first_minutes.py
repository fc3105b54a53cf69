"""What a new user types, and what does not work, is understood or answered with what to type."""

import importlib.util
import logging
import re
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask

SMALL = [
    *("--model.backbone.weights", "random", "--model.backbone.img_size", "32"),
    *("--data.batch_size", "8", "--data.num_workers", "0", "--trainer.max_epochs", "1"),
]
RESNET = ["--model.backbone", "test_resnet"]
HEAD = """
import torch

class MyHead(torch.nn.Module):
    def __init__(self, num_features: int, num_classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.output = torch.nn.Linear(num_features, num_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.output(features) * self.scale
"""
DATA = """
import lightning

class MyData(lightning.LightningDataModule):
    pass
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """Write a module of the user's own into the working folder, which is not on the path."""
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", ".")])

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


def recipe():
    saved = torch.load("runs/images/0/checkpoints/last.ckpt", weights_only=True)
    return saved["task_config"]


def test_a_directory_and_the_name_of_a_backbone_are_enough(run_tltool, images):
    status, _, _ = run_tltool("fit", images, *RESNET, *SMALL)
    assert status == 0
    assert recipe()["backbone"]["init_args"]["name"] == "test_resnet"


def test_data_may_be_a_directory_and_a_backbone_a_name_in_yaml_too(run_tltool, images, tmp_path):
    (tmp_path / "run.yaml").write_text(f"data: {images}\nmodel: {{backbone: test_resnet}}\n")
    status, _, _ = run_tltool("fit", "--config", "run.yaml", *SMALL)
    assert status == 0


def test_a_directory_behind_data_is_its_root(run_tltool, images):
    status, out, _ = run_tltool("plan", "--data", images, *RESNET, *SMALL)
    assert status == 0
    assert "steps an epoch" in out


def test_a_head_of_ones_own_trains_and_its_checkpoint_predicts(run_tltool, images, own_module):
    own_module("heads_of_mine", HEAD)
    head = ["--model.head", "heads_of_mine.MyHead", "--model.head.scale", "0.5"]
    status, out, _ = run_tltool("fit", images, *RESNET, *head, *SMALL)
    assert status == 0
    assert "tltool report runs/images/0 --modules heads_of_mine\n" in out
    assert recipe()["head"]["class_path"] == "heads_of_mine.MyHead"
    assert recipe()["head"]["init_args"]["scale"] == 0.5
    sys.modules.pop("heads_of_mine")
    checkpoint = ["--ckpt_path", "runs/images/0/checkpoints/last.ckpt", "--data.num_workers", "0"]
    status, out, _ = run_tltool(
        "predict", images, *checkpoint, "--modules", "heads_of_mine", "--data.batch_size", "8"
    )
    assert status == 0
    assert "24 predictions" in out


def test_a_module_that_is_not_there_is_named(run_tltool, images):
    status, _, err = run_tltool("predict", images, "--ckpt_path", "no.ckpt", "--modules", "nope")
    assert (status, "no module 'nope'" in err) == (1, True)


def test_a_data_module_of_lightning_is_refused_with_what_is_needed(run_tltool, own_module):
    own_module("data_of_mine", DATA)
    status, _, err = run_tltool("fit", "--data", "data_of_mine.MyData", *RESNET, *SMALL)
    assert status == 2
    assert "class MyData(tltool.ImageDataModule)" in err
    assert "find_classes" in err
    assert "find_records" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "1"], "optimizer.lr"),
        (["--epochs=3"], "trainer.max_epochs"),
        (["--batch_size", "3"], "data.batch_size"),
        (["--batch-size", "3"], "data.batch_size"),
        (["--ckpt-path", "last.ckpt"], "ckpt_path"),
        (["--trainr.max_epochs", "3"], "trainer.max_epochs"),
    ],
)
def test_what_others_call_an_option_is_answered_with_its_name(run_tltool, words, message):
    status, _, err = run_tltool("fit", "images", *words)
    assert (status, f"Did you mean --{message}?" in err) == (2, True)


def test_a_configuration_that_is_missing_or_a_folder_is_said_with_what_to_take(
    run_tltool, tmp_path
):
    (tmp_path / "images.yaml").touch()
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "config.yaml").touch()
    status, _, err = run_tltool("fit", "--config", tmp_path / "image.yaml")
    assert status == 2
    assert f"There is no file '{tmp_path / 'image.yaml'}', which --config names" in err
    assert "Did you mean 'images.yaml'?" in err
    status, _, err = run_tltool("fit", "--config", tmp_path / "0")
    assert (status, f"--config {tmp_path / '0' / 'config.yaml'}" in err) == (2, True)


def test_a_class_of_the_trainer_that_is_unknown_offers_the_nearest(run_tltool, images):
    status, _, err = run_tltool("fit", images, *RESNET, "--trainer.callbacks", "EarlyStoping")
    assert (status, "Did you mean 'EarlyStopping'?" in err) == (2, True)


def test_a_logger_whose_package_is_missing_says_which_in_one_line(run_tltool, images):
    assert importlib.util.find_spec("mlflow") is None
    status, _, err = run_tltool("fit", images, *RESNET, *SMALL, "--trainer.logger", "MLFlowLogger")
    assert status == 1
    lines = [line for line in err.splitlines() if line.startswith("error")]
    assert lines == [
        "error: MLFlowLogger needs a package that is not installed. Type: pip install mlflow"
    ]


def test_lightning_advertises_nothing(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(logging.getLogger("lightning.fabric"), "level", logging.INFO)
    task = ImageTask(Backbone("test_resnet", weights="random", img_size=32), num_classes=2)
    Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert task.training
    assert not re.search("Tip|GPU available", caplog.text)


def test_a_notice_appears_once_a_warning_each_time(capsys):
    from tltool.cli.process import set_up_process

    set_up_process()
    for _ in range(2):
        logging.getLogger("tltool.data").info("license")
        logging.getLogger("tltool.data").warning("fault")
    err = capsys.readouterr().err
    assert (err.count("license"), err.count("fault")) == (1, 2)


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_an_accelerator_that_is_not_there_is_said_before_anything_is_read(run_tltool, command):
    words = ["--trainer.accelerator", "tpu", "--ckpt_path", "none.ckpt", "--data.root", "nowhere"]
    status, _, err = run_tltool(command, *words)
    assert (status, "--trainer.accelerator auto" in err) == (1, True)


def test_fewer_images_than_a_batch_are_said_before_the_probe_and_a_run(run_tltool, images):
    words = ["--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"]
    words += ["--data.num_workers", "0", "--data.batch_size", "32"]
    status, out, err = run_tltool("fit", images, *words)
    assert (status, "probe" in out, list(Path.cwd().iterdir())) == (1, False, [])
    assert "error: The batch size 32 is larger than the " in err
