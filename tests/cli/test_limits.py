"""What a fit knows of its limits at its end, and what predict, validate and report say of it."""

import csv
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import write_images
from tltool.__main__ import main
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.inference.checkpoint_trust import read_trust
from tltool.inference.export.exporting import export
from tltool.reporting.run_record import read_run

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--finetuning", "LinearProbe", "--trainer.max_epochs", "1"),
    *("--health.enabled", "false", "--data.val_fraction", "0.4"),
]
EVALUATION = ["--data.num_workers", "0", "--trainer.accelerator", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("limits") / "images", per_class=30)


@pytest.fixture(scope="module")
def run(folder):
    """Return the directory of a run that validates on 24 images."""
    run_dir = folder.parent / "run"
    words = ["fit", *SMALL, "--data.root", folder, "--run_dir", run_dir]
    assert main([str(word) for word in words]) == 0
    return run_dir


@pytest.fixture(scope="module")
def tuned_run(tmp_path_factory):
    """Return the directory of a run with a tuning split: 20 images that a folder calls val test."""
    place = tmp_path_factory.mktemp("tuned")
    for split, number in (("train", 50), ("val", 10)):
        write_images(place / "images" / split, per_class=number)
    words = ["fit", *SMALL, "--data.root", place / "images", "--run_dir", place / "run"]
    assert main([*map(str, words), "--data.tuning_fraction", "0.6"]) == 0
    return place / "run"


@pytest.fixture
def best(run):
    return run / "checkpoints" / "best.ckpt"


def test_a_fit_keeps_what_it_knows_of_its_limits(best):
    trust = read_trust(best)
    assert (trust.split, len(trust.scores.labels), trust.has_chosen) == ("val", 24, True)


def test_without_calibration_there_are_no_limits(folder, run_tltool, tmp_path):
    words = (*SMALL, "--data.root", folder, "--run_dir", "bare", "--calibrate", "false")
    status, out, _ = run_tltool("fit", *words)
    assert (status, "limits " in out) == (0, False)
    assert read_trust(tmp_path / "bare" / "checkpoints" / "best.ckpt") is None


def test_predict_writes_sets_and_says_what_they_rest_on(best, folder, run_tltool, tmp_path):
    (tmp_path / "predictions.csv").touch()
    words = ("--ckpt_path", best, "--data.root", folder, "--coverage", "0.9", *EVALUATION)
    status, out, errors = run_tltool("predict", *words)
    assert status == 0, errors
    assert "sets     0.9 of them hold the class, by 24 val images, which chose the" in out
    assert "predictions.csv is there and is replaced. Name another file by --output." in errors
    header = next(csv.reader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert {"is_unknown", "unknown_score", "prediction_set"} < set(header)


def test_a_coverage_that_the_images_cannot_promise_is_one_line(best, folder, run_tltool):
    words = ("--ckpt_path", best, "--data.root", folder, "--coverage", "0.99", *EVALUATION)
    status, _, errors = run_tltool("predict", *words)
    assert status != 0
    assert "needs at least 99 images that chose nothing, and there are 24" in errors


def test_validate_prints_coverage_and_that_these_images_set_it(best, folder, run_tltool):
    words = ("--ckpt_path", best, "--data.root", folder, "--data.val_fraction", "0.4", *EVALUATION)
    status, out, errors = run_tltool("validate", *words)
    assert status == 0
    assert "The features of 24 images are kept: no image is read." in errors
    assert "asked coverage" in out
    assert "24 of these images are among them" in out


def test_images_are_split_as_in_the_run_where_nothing_else_is_given(best, folder, run_tltool):
    words = ("--ckpt_path", best, "--data.root", folder, *EVALUATION)
    status, out, errors = run_tltool("validate", *words)
    assert (status, "was trained on" in errors) == (0, False)
    assert "24 of these images are among them" in out


@pytest.mark.parametrize("spell", [str, os.path.relpath])
def test_training_images_that_measure_are_counted(best, folder, run_tltool, spell):
    words = ("--ckpt_path", best, "--data.root", spell(folder), "--data.seed", "1", *EVALUATION)
    status, _, errors = run_tltool("validate", *words)
    assert status == 0
    assert "of these 24 images have names of images that this checkpoint was trained on" in errors


def test_an_export_knows_the_images_of_its_run(best, folder, run_tltool):
    export(best, to="safetensors", output="model.safetensors")
    words = ("--ckpt_path", "model.safetensors", "--data.root", folder, *EVALUATION)
    status, _, errors = run_tltool("validate", *words)
    assert (status, "was trained on" in errors) == (0, False), errors
    _, _, errors = run_tltool("validate", *words, "--data.seed", "1")
    assert "of these 24 images have names of images that this checkpoint was trained on" in errors


def validation_folder(place, images, size):
    """Write a folder whose val images have the names of the validation images of a run."""
    other = write_images(place / "other", per_class=30, size=size)
    folder = write_images(place / "new" / "train", per_class=3).parent
    for path in images:
        target = folder / "val" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(other / path.parent.name / path.name, target)
    return folder


@pytest.mark.parametrize(("size", "num_shared"), [(48, 24), (50, 0)])
def test_images_are_known_again_by_what_they_are_and_not_by_their_names(
    run, best, run_tltool, tmp_path, size, num_shared
):
    config = read_run(run).config
    data = ImageFolderDataModule(**config["data"]["init_args"])
    images = [Path(path) for path in data.samples("val").paths]
    folder = validation_folder(tmp_path, images, size)
    words = ("--ckpt_path", best, "--data.root", folder, *EVALUATION)
    status, out, errors = run_tltool("validate", *words)
    assert status == 0, errors
    assert ("24 of these images are among them" in out) == bool(num_shared)


def test_the_report_says_whether_it_can_be_trusted(run, run_tltool):
    status, _, errors = run_tltool("report", run)
    page = (run / "report.html").read_text()
    assert status == 0, errors
    assert "The features of 24 images are kept: no image is read." in errors
    said = page.split("Can it be trusted?")[1]
    assert all(word in said for word in ("Labels: ", "Shortcuts: ", "asked coverage"))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["validate", "test"])
def test_images_that_a_run_called_test_are_measured_and_named_so(command, tuned_run, run_tltool):
    best, folder = tuned_run / "checkpoints" / "best.ckpt", tuned_run.parent / "images"
    status, out, errors = run_tltool(
        *(command, "--ckpt_path", best, "--data.root", folder, *EVALUATION)
    )
    assert status == 0, errors
    assert "These 20 images are val in the data, and were test in the run" in out
    assert f"{'val' if command == 'validate' else 'test'}/accuracy" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by_class"], "--by_class is about the sets of --coverage"),
        (["--num_overlays", "3"], "--num_overlays is about --overlays"),
    ],
)
def test_an_option_without_the_one_it_is_about_is_refused(best, folder, run_tltool, words, message):
    given = ("--ckpt_path", best, "--data.root", folder, *EVALUATION)
    status, _, err = run_tltool("predict", *given, *words)
    assert (status, message in err) == (1, True)
