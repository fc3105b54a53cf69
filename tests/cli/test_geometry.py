"""Rectangles and whole images: each command prepares images as the run did."""

import contextlib
import csv
import io

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import tltool
from tltool.__main__ import main

NETWORK = ["--model.backbone.name", "test_vit", "--model.backbone.weights", "random"]
TINY = [*NETWORK, "--data.num_workers", "0", "--data.batch_size", "4"]
TINY += ["--trainer.accelerator", "cpu"]
GEOMETRY = ["--model.backbone.img_size", "32", "64", "--data.crop_mode", "pad"]
SIZE = ["--model.backbone.img_size", "32", "64"]
END = 24  # pixels at the left end of an image


@pytest.fixture(scope="module")
def strips(tmp_path_factory):
    """Gray images, four times as wide as high, with a dark or a bright left end."""
    root, generator = tmp_path_factory.mktemp("strips"), np.random.default_rng(0)
    for name, level in (("dark", 20), ("bright", 235)):
        (root / name).mkdir()
        for index in range(8):
            pixels = 128 + 30 * generator.standard_normal((5, 20, 3)).repeat(8, 0).repeat(8, 1)
            pixels[:, :END] += level - 128
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(root / name / f"{index}.png")
    return root


def fit(strips, folder, *words):
    runs = ["--runs_dir", str(folder), "--name", "run"]
    return main(["fit", *TINY, *runs, "--data.root", str(strips), *words])


@pytest.fixture(scope="module")
def run(strips, tmp_path_factory):
    """A run whose images are rectangles and padded, one block on cached activations."""
    folder = tmp_path_factory.mktemp("runs")
    words = ["--finetuning", "LastBlocks", "--trainer.max_epochs", "2"]
    words += ["--data.augmentation", "none"]  # Of views there are more than of epochs.
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        assert fit(strips, folder, *GEOMETRY, *words) == 0
    (folder / "run" / "0" / "output.txt").write_text(output.getvalue())
    return folder / "run" / "0"


@pytest.fixture(scope="module")
def checkpoint(run):
    return run / "checkpoints" / "last.ckpt"


def predicted(checkpoint, image, output):
    words = ["--ckpt_path", str(checkpoint), "--data.root", str(image), "--output", str(output)]
    assert main(["predict", *words, "--data.num_workers", "0", "--trainer.accelerator", "cpu"]) == 0
    (row,) = csv.DictReader(output.read_text().splitlines())
    return float(row["probability:bright"])


def test_the_first_screen_shows_both(run):
    assert ", 32 x 64 px, crop_mode pad, " in (run / "output.txt").read_text()


def test_activations_of_rectangles_are_computed_once(run):
    assert "read activations" in (run / "output.txt").read_text()


def test_the_configuration_keeps_what_was_asked_for(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["backbone"]["init_args"]["img_size"] == [32, 64]
    assert config["data"]["init_args"]["crop_mode"] == "pad"


def test_the_checkpoint_knows_how_images_are_prepared(checkpoint):
    config = tltool.load(checkpoint).task.data_config
    assert (config["input_size"], config["crop_mode"]) == ([3, 32, 64], "border")


def test_predict_prepares_images_as_the_run_did(checkpoint, strips, tmp_path):
    """By hand: 160 x 40 pixels are shrunk to 64 x 16, on the mean color."""
    task = tltool.load(checkpoint).task
    path = strips / "dark" / "0.png"
    mean, std = (torch.tensor(task.data_config[key])[:, None, None] for key in ("mean", "std"))
    with Image.open(path) as image:
        part = np.array(image.resize((64, 16), Image.Resampling.BICUBIC))
    pixels = (mean * 255).round().expand(3, 32, 64).clone()
    pixels[:, 8:24] = torch.from_numpy(part).permute(2, 0, 1)
    with torch.no_grad():
        logits = task.eval()(((pixels / 255 - mean) / std)[None])
    expected = logits.softmax(dim=1)[0, 0].item()
    assert predicted(checkpoint, path, tmp_path / "one.csv") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("words", [[], ["--data.crop_mode", "pad"], ["--data.crop_mode", "border"]])
def test_validate_takes_the_checkpoints_own(checkpoint, strips, words, capsys):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(strips), *words]
    assert main(["validate", *args, "--data.num_workers", "0", "--trainer.accelerator", "cpu"]) == 0


def test_another_crop_mode_than_the_checkpoints_is_refused(checkpoint, strips, capsys):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(strips)]
    assert main(["validate", *args, "--data.crop_mode", "center"]) == 1
    assert "trained with `crop_mode: pad`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (SIZE, "crop     center, 32 x 64 px: 45 % of the area of an image is seen, at least 45 %"),
        (GEOMETRY, "crop     pad, 32 x 64 px: the whole of each image is seen"),
    ],
)
def test_doctor_says_how_much_of_the_images_is_seen(strips, capsys, words, said):
    main(["doctor", *TINY, *words, "--data.root", str(strips)])
    assert said in capsys.readouterr().out


def test_a_configuration_file_gives_both(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "--config", str(run / "config.yaml")]) == 0


@pytest.mark.parametrize("command", [["plan"], ["features", "compute"]])
def test_other_commands_take_both(strips, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    assert main([*command, *TINY, *GEOMETRY, "--data.root", str(strips)]) == 0


def test_the_table_of_features_shows_both_edges(run, capsys):
    assert main(["features", "list"]) == 0
    assert "32 x 64" in capsys.readouterr().out


def test_report_measures_what_the_run_measured(run, capsys):
    assert main(["report", str(run)]) == 0
    assert "cannot be read" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*GEOMETRY[:3], "--data.crop_mode", "squash"], "crop_mode was 'pad' and is 'squash'"),
        (GEOMETRY[3:], "img_size was [32, 64] and is None"),
        ([*SIZE[:1], "64", "32", *GEOMETRY[3:]], "img_size was [32, 64] and is [64, 32]"),
    ],
)
def test_a_run_is_not_resumed_with_another_geometry(
    strips, checkpoint, tmp_path, words, said, capsys
):
    words = [*words, "--ckpt_path", str(checkpoint), "--trainer.max_epochs", "3"]
    assert fit(strips, tmp_path, *words, "--finetuning", "LastBlocks") == 1
    assert said in capsys.readouterr().err
