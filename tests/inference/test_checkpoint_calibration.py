"""The temperature of a checkpoint: fitted at the end of fit, kept, applied, reported on others."""

import csv
import json

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
    """Images of train, val and test, the latter two with wrong labels, and a run on them."""
    folder = tmp_path_factory.mktemp("calibration")
    # Of another size, no image is in two splits.
    for split, number, size in (("train", 24, 48), ("val", 50, 50), ("test", 20, 52)):
        for name in ("blue", "red"):
            write_images(folder / "images" / split, (name,), per_class=number, size=size)
    for split, number_of_each in (("val", 50), ("test", 20)):  # One of four is of the other class.
        for number in range(0, number_of_each, 4):
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
    assert json.loads(json.dumps(stored)) == stored
    assert (stored["split"], stored["num_images"]) == ("val", 100)


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
    assert "was fitted on 100 other images" in out


def test_images_that_fitted_it_do_not_report_on_it(checkpoint, folder, capsys):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(folder / "images")]
    assert main(["validate", *args, "--data.num_workers", "0"]) == 0
    out = capsys.readouterr().out
    assert "calibration_error_scaled" not in out
    assert "was fitted on 100 of these images" in out


@pytest.mark.slow
def test_it_can_be_turned_off(folder, tmp_path):
    args = ["--data.root", str(folder / "images"), "--runs_dir", str(tmp_path)]
    assert main(["fit", *args, *FIT, "--calibrate", "false"]) == 0
    best = tmp_path / "images" / "0" / "checkpoints" / "best.ckpt"
    assert "calibration" not in read_checkpoint(best)


def predicted(checkpoint, folder, output, *words):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(folder / "images" / "test")]
    assert main(["predict", *args, "--data.num_workers", "0", "--output", str(output), *words]) == 0
    return list(csv.DictReader(output.read_text().splitlines()))


def test_what_is_less_sure_than_the_threshold_is_marked(checkpoint, folder, tmp_path):
    rows = predicted(checkpoint, folder, tmp_path / "a.csv")
    sure = [max(float(row["probability:blue"]), float(row["probability:red"])) for row in rows]
    threshold = sum(sorted(sure)[19:21]) / 2
    marked = predicted(checkpoint, folder, tmp_path / "b.csv", "--reject_below", str(threshold))
    assert [row["rejected"] for row in marked] == [str(p < threshold).lower() for p in sure]
    assert sum(row["rejected"] == "true" for row in marked) == 20


def test_a_target_risk_gives_the_threshold_of_the_validation_images(checkpoint, folder, tmp_path):
    threshold = tltool.load(checkpoint).rejection_threshold(0.5)
    by_risk = predicted(checkpoint, folder, tmp_path / "a.csv", "--reject_risk", "0.5")
    given = predicted(checkpoint, folder, tmp_path / "b.csv", "--reject_below", str(threshold))
    assert by_risk == given


def test_a_target_risk_does_not_hold_for_averaged_views(checkpoint):
    with pytest.raises(ValueError, match="without test-time augmentation"):
        tltool.load(checkpoint, tta="flip").rejection_threshold(0.4)


@pytest.mark.slow
def test_overlays_are_written_for_the_first_images(checkpoint, folder, tmp_path):
    words = ["--overlays", str(tmp_path / "overlays"), "--num_overlays", "2"]
    predicted(checkpoint, folder, tmp_path / "table.csv", *words)
    names = sorted(path.name for path in (tmp_path / "overlays").iterdir())
    assert names == ["000001_00.png", "000002_01.png"]


@pytest.mark.slow
def test_the_report_shows_calibration_rejection_and_where_the_network_looks(folder, capsys):
    run = folder / "runs" / "images" / "0"
    assert main(["report", str(run), "--overlays", "3"]) == 0
    page = (run / "report.html").read_text()
    assert "Without the temperature it is" in page
    assert "The mean risk over all coverages" in page
    assert "Where the network looks" in page
