"""A run that ends with the start, fitted anew: what validate, test and report say of its images."""

import shutil

import pytest
import torch

from tests.conftest import write_images
from tltool.__main__ import main
from tltool.cli.report_measure import measure_run
from tltool.training.calibration import Calibration
from tltool.training.checkpoint_io import read_checkpoint

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--health.enabled", "false"),
    *("--finetuning", "LinearProbe", "--trainer.max_epochs", "1", "--data.tuning_fraction", "0.5"),
    *("--ending.include_start", "true", "--ending.choose", "one_standard_error"),
]
EVALUATION = ["--data.num_workers", "0", "--trainer.accelerator", "cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the directory of a run whose best.ckpt has learned 60 tuning images too."""
    place = tmp_path_factory.mktemp("refit")
    for split, number in (("train", 60), ("val", 10)):
        write_images(place / "images" / split, per_class=number, size=32)
    words = ["fit", *SMALL, *EVALUATION, "--run_dir", place / "run"]
    words += ["--data.root", place / "images"]
    assert main([str(word) for word in words]) == 0
    ending = read_checkpoint(place / "run" / "checkpoints" / "best.ckpt")["ending"]
    assert ending["candidate"] == "start, refit with tuning images"
    return place / "run"


@pytest.mark.parametrize(("command", "warns"), [("validate", True), ("test", False)])
def test_tuning_images_that_trained_are_warned_of_and_test_images_are_not(
    run, run_tltool, command, warns
):
    words = ["--ckpt_path", run / "checkpoints" / "best.ckpt", "--data.root", run.parent / "images"]
    status, _, err = run_tltool(command, *words, "--data.tuning_fraction", "0.5", *EVALUATION)
    assert status == 0
    said = "60 of these 60 images have names of images that this checkpoint was trained on"
    assert (said in err, "the numbers flatter it: type tltool test." in err) == (warns, warns)


def test_a_head_that_has_learned_the_tuning_images_keeps_the_temperature_of_before(
    run, run_tltool, tmp_path, monkeypatch
):
    monkeypatch.setattr("tltool.inference.checkpoint_calibration.LEAST_IMAGES", 60)
    place = shutil.copytree(run, tmp_path / "run")
    (place / "status.json").unlink()  # As if it had been killed behind the refit.
    status, out, err = run_tltool("fit", "--config", place / "config.yaml", "--run_dir", place)
    assert (status, "nothing left to train" in out) == (0, True), err
    assert "calibration" not in read_checkpoint(place / "checkpoints" / "best.ckpt")


def test_a_temperature_of_before_the_refit_is_told_when_the_run_is_started_again(
    run, run_tltool, tmp_path, monkeypatch
):
    monkeypatch.setattr("tltool.inference.checkpoint_calibration.LEAST_IMAGES", 60)
    place = shutil.copytree(run, tmp_path / "run")
    (place / "status.json").unlink()  # As if it had been killed behind the refit.
    best = place / "checkpoints" / "best.ckpt"
    fitted = Calibration(temperature=1.5, split="val", num_images=60).state_dict()
    torch.save(read_checkpoint(best) | {"calibration": fitted}, best)
    status, out, err = run_tltool("fit", "--config", place / "config.yaml", "--run_dir", place)
    assert status == 0, err
    assert "sure      the temperature that 60 val images fitted before stays" in out
    assert read_checkpoint(best)["calibration"] == fitted


@pytest.fixture
def resume(run, run_tltool, tmp_path):
    """Return a function that trains a copy of the run for another epoch, and its directory."""

    def resume(name):
        place = shutil.copytree(run, tmp_path / "run")
        words = ["--config", place / "config.yaml", "--run_dir", place]
        words += ["--ckpt_path", place / "checkpoints" / f"{name}.ckpt"]
        words += ["--trainer.max_epochs", 2, "--ending.include_start", "false"]
        status, out, err = run_tltool("fit", *words, "--ending.choose", "best")
        assert status == 0, err
        return out, place / "checkpoints"

    return resume


def test_a_run_that_goes_on_from_tuning_images_counts_them_as_trained_on(resume, run, run_tltool):
    _, checkpoints = resume("best")
    words = ["--ckpt_path", checkpoints / "last.ckpt", "--data.root", run.parent / "images"]
    _, _, err = run_tltool("validate", *words, "--data.tuning_fraction", "0.5", *EVALUATION)
    assert "60 of these 60 images have names of images that this checkpoint was trained on" in err


def test_a_run_that_goes_on_from_tuning_images_has_no_temperature_of_them(resume, monkeypatch):
    monkeypatch.setattr("tltool.inference.checkpoint_calibration.LEAST_IMAGES", 60)
    out, checkpoints = resume("best")
    assert "sure      no temperature is fitted: 60 of these 60 val images have names" in out
    assert "calibration" not in read_checkpoint(checkpoints / "best.ckpt")


def test_a_run_that_is_resumed_as_it_was_has_trained_on_no_others(resume, run):
    _, checkpoints = resume("last")
    before, after = (
        read_checkpoint(folder / "last.ckpt")["run_facts"]
        for folder in (run / "checkpoints", checkpoints)
    )
    assert after.keys() == before.keys()


def test_images_that_stayed_are_not_reported_as_others(run):
    found = measure_run(run)
    assert (found.evaluation.split, found.missing) == ("test", [])
