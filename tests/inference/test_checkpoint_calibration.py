"""The temperature of a checkpoint: fitted at the end of fit, kept, applied, reported on others."""

import pytest
import torch

import tltool
from tests.conftest import write_images
from tltool.__main__ import main
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.inference.checkpoint_calibration import calibrate_checkpoint
from tltool.training.calibration import Calibration
from tltool.training.checkpoint_io import read_checkpoint

FIT = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "16", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--health.enabled", "false", "--trainer.max_epochs", "1"),
    *("--finetuning", "LinearProbe", "--model.log_prior", "true", "--optimizer.lr", "1"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of train, val and test whose labels are partly wrong, and a run on them."""
    folder = tmp_path_factory.mktemp("calibration")
    for split, number in (("train", 24), ("val", 30), ("test", 20)):
        for name in ("blue", "red"):
            write_images(folder / "images" / split, classes=(name,), per_class=number)
    for split in ("train", "val", "test"):  # One of six is of the other class.
        for number in range(0, 20, 6):
            places = [
                folder / "images" / split / name / f"{number:02d}.png" for name in ("blue", "red")
            ]
            contents = [place.read_bytes() for place in places]
            for place, content in zip(places, reversed(contents), strict=True):
                place.write_bytes(content)
    args = ["--data.root", str(folder / "images"), "--runs_dir", str(folder / "runs")]
    assert main(["fit", *args, *FIT]) == 0
    return folder


@pytest.fixture
def checkpoint(folder):
    return folder / "runs" / "images" / "0" / "checkpoints" / "best.ckpt"


def test_fit_keeps_a_temperature_of_the_validation_images_as_plain_data(checkpoint):
    stored = read_checkpoint(checkpoint)["calibration"]
    assert {type(value) for value in stored.values()} == {float, str, int}
    assert (stored["split"], stored["num_images"]) == ("val", 60)


def test_the_temperature_does_not_depend_on_the_test_images(checkpoint, folder, tmp_path):
    before = Calibration.of_checkpoint(read_checkpoint(checkpoint)).temperature
    copy = tmp_path / "best.ckpt"
    copy.write_bytes(checkpoint.read_bytes())
    task = tltool.load(copy).task
    config = {"data_config": task.data_config, "class_names": task.class_names}
    data = ImageFolderDataModule(folder / "images", num_workers=0, **config)
    data.splits.test.labels[:] = [1] * len(data.splits.test)
    fit = calibrate_checkpoint(copy, data)
    assert before != 1
    assert fit.temperature == pytest.approx(before, rel=1e-3)


def test_predictions_are_scaled_by_it(checkpoint, folder):
    predictor = tltool.load(checkpoint)
    path = folder / "images" / "test" / "red" / "03.png"
    scaled = (predictor.logits([path]) / predictor.temperature).softmax(dim=1)[0]
    found = predictor.predict(path).probabilities
    assert [found["blue"], found["red"]] == pytest.approx(scaled.tolist(), abs=1e-6)


def test_a_checkpoint_without_one_is_at_one(checkpoint, tmp_path):
    content = read_checkpoint(checkpoint)
    del content["calibration"]
    torch.save(content, tmp_path / "old.ckpt")
    assert tltool.load(tmp_path / "old.ckpt").temperature == 1


def test_test_measures_the_calibration_error_before_and_after(checkpoint, folder, capsys):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(folder / "images")]
    assert main(["test", *args, "--data.num_workers", "0"]) == 0
    out = capsys.readouterr().out
    assert "test/calibration_error_scaled" in out
    assert "was fitted on 60 other images" in out


def test_images_that_fitted_it_do_not_report_on_it(checkpoint, folder, capsys):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(folder / "images")]
    assert main(["validate", *args, "--data.num_workers", "0"]) == 0
    out = capsys.readouterr().out
    assert "calibration_error_scaled" not in out
    assert "was fitted on 60 of these images" in out


def test_it_can_be_turned_off(folder, tmp_path):
    args = ["--data.root", str(folder / "images"), "--runs_dir", str(tmp_path)]
    assert main(["fit", *args, *FIT, "--calibrate", "false"]) == 0
    best = tmp_path / "images" / "0" / "checkpoints" / "best.ckpt"
    assert "calibration" not in read_checkpoint(best)
