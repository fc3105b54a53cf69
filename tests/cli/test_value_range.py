"""12 bits in 16-bit files: refused without a range, and with one prepared alike everywhere."""

import csv

import numpy as np
import pytest
import yaml
from PIL import Image

import tltool
from tltool.__main__ import main

TINY = ["--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"]
TINY += ["--model.backbone.img_size", "32", "--data.num_workers", "0", "--data.batch_size", "4"]
TINY += ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
TINY += ["--finetuning", "LinearProbe"]
TWELVE = ["--data.value_range", "0", "4095"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Images of 12 bits in 16-bit files, and beside them their 8-bit twins."""
    root, generator = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    for name, center in (("bone", 60), ("lung", 190)):
        for index in range(8):
            twin = (center + 30 * generator.standard_normal((40, 40))).clip(0, 255).astype(np.uint8)
            deep = (twin * (4095 / 255)).round().astype(np.uint16)
            for folder, values in (("deep", deep), ("twin", twin)):
                (root / folder / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(root / folder / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def twins(scans, tmp_path_factory):
    """The checkpoint of a run on the 8-bit twins."""
    folder = tmp_path_factory.mktemp("twins")
    runs = ["--runs_dir", str(folder), "--name", "twins"]
    assert main(["fit", *TINY, *runs, "--data.root", str(scans / "twin")]) == 0
    return folder / "twins" / "0" / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def checkpoint(scans, tmp_path_factory):
    """The checkpoint of a run on 12 bits, with their range."""
    folder = tmp_path_factory.mktemp("runs")
    runs = ["--runs_dir", str(folder), "--name", "scans"]
    assert main(["fit", *TINY, *TWELVE, *runs, "--data.root", str(scans / "deep")]) == 0
    return folder / "scans" / "0" / "checkpoints" / "best.ckpt"


def predicted(checkpoint, folder, output, *options):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(folder), "--output", str(output)]
    args += ["--data.num_workers", "0", "--trainer.accelerator", "cpu", *options]
    assert main(["predict", *args]) == 0
    rows = list(csv.DictReader(output.read_text().splitlines()))
    return [float(row["probability:bone"]) for row in rows]


@pytest.mark.parametrize("command", ["fit", "doctor", "plan"])
def test_a_command_stops_and_names_the_option(scans, tmp_path, capsys, command):
    runs = [] if command != "fit" else ["--runs_dir", str(tmp_path / "runs")]
    assert main([command, *TINY, *runs, "--data.root", str(scans / "deep")]) == 1
    assert "Set --data.value_range 0 4095" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_range_is_kept_in_the_configuration(checkpoint):
    config = yaml.safe_load((checkpoint.parents[1] / "config.yaml").read_text())
    assert config["data"]["init_args"]["value_range"] == [0, 4095]


def test_the_checkpoint_knows_the_range(checkpoint):
    assert tltool.load(checkpoint).task.data_config["value_range"] == [0, 4095]


def test_predict_prepares_twelve_bits_as_their_twins(checkpoint, scans, tmp_path):
    deep = predicted(checkpoint, scans / "deep", tmp_path / "deep.csv")
    twin = predicted(checkpoint, scans / "twin", tmp_path / "twin.csv")
    assert deep == pytest.approx(twin, abs=1e-6)
    assert len(set(deep)) > 8  # Not all black.


def array_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("open_", [str, Image.open, array_of])
def test_every_door_scales_by_the_range(checkpoint, scans, tmp_path, open_):
    path = scans / "deep" / "bone" / "0.png"
    expected = predicted(checkpoint, path, tmp_path / "one.csv")
    found = tltool.load(checkpoint).predict(open_(path)).probabilities["bone"]
    assert [found] == pytest.approx(expected, abs=1e-6)


def test_another_range_than_the_checkpoints_is_refused(checkpoint, scans, capsys):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(scans / "deep")]
    assert main(["validate", *args, "--data.value_range", "0", "1023"]) == 1
    assert "was trained with `value_range: [0.0, 4095.0]`" in capsys.readouterr().err


def test_validate_and_report_use_the_range(checkpoint, scans, capsys):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(scans / "deep")]
    assert main(["validate", *args, "--data.num_workers", "0", "--trainer.accelerator", "cpu"]) == 0
    assert main(["report", str(checkpoint.parents[1])]) == 0
    picture = np.asarray(Image.open(checkpoint.parents[1] / "predictions.png").convert("L"))
    assert (abs(picture.astype(int) - 60) < 9).mean() > 0.03  # The mean of the bones.


def test_doctor_says_which_values_were_seen(scans, capsys):
    main(["doctor", *TINY, *TWELVE, "--data.root", str(scans / "deep")])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("values"))
    assert "0 is black, 4095 white; 16-bit, values" in line
    assert "in the 16 of 16 images that were looked at" in line


def test_a_model_of_eight_bits_warns_of_twelve(twins, scans, tmp_path, capsys):
    twin = predicted(twins, scans / "twin", tmp_path / "twin.csv")
    dark = predicted(twins, scans / "deep", tmp_path / "dark.csv")
    deep = predicted(twins, scans / "deep", tmp_path / "deep.csv", *TWELVE)
    assert capsys.readouterr().err.count("values need 12 bits") == 1
    assert deep == pytest.approx(twin, abs=1e-6)
    assert dark != pytest.approx(twin, abs=1e-6)


def test_overlays_show_the_pixels_of_the_table(twins, scans, tmp_path):
    for name, options in (("deep", TWELVE), ("twin", [])):
        words = ["--overlays", str(tmp_path / name), "--num_overlays", "1", *options]
        predicted(twins, scans / name, tmp_path / f"{name}.csv", *words)
    deep, twin = (array_of(tmp_path / name / "000001_0.png") for name in ("deep", "twin"))
    assert (abs(deep.astype(int) - twin) <= 2).all()


def test_a_twelve_bit_image_alone_is_said_to_be_black(twins, scans, caplog):
    path = scans / "deep" / "bone" / "1.png"
    dark = tltool.load(twins).predict(path)
    assert f"{path}' is nearly black" in caplog.text
    assert dark != tltool.load(twins).predict(scans / "twin" / "bone" / "1.png")


def test_a_model_of_eight_bits_can_be_loaded_with_a_range(twins, scans):
    deep = tltool.load(twins, value_range=(0, 4095)).predict(scans / "deep" / "bone" / "2.png")
    assert deep == tltool.load(twins).predict(scans / "twin" / "bone" / "2.png")


def test_float_images_stop_a_run_that_skips_broken_ones(tmp_path, capsys):
    for name in ("cold", "warm"):
        (tmp_path / name).mkdir()
        for index in range(6):
            values = np.full((8, 8), 280.5 + index, dtype=np.float32)
            Image.fromarray(values).save(tmp_path / name / f"{index}.tif")
    args = [*TINY, "--data.root", str(tmp_path), "--data.broken_files", "skip"]
    assert main(["plan", *args]) == 1
    assert "Set --data.value_range 280 286" in capsys.readouterr().err


def test_a_range_the_wrong_way_round_is_refused(scans, capsys):
    args = [*TINY, "--data.root", str(scans / "deep"), "--data.value_range", "4095", "0"]
    assert main(["plan", *args]) == 1
    assert "must be two numbers, the values of black and of white" in capsys.readouterr().err
