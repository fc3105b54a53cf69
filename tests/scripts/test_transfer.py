"""The benchmark of fine-tuning: its sets, its results and its tables."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

BENCHMARK = Path(__file__).parents[2] / "scripts" / "benchmark"


@pytest.fixture
def module(monkeypatch):
    """Import a module of the benchmarks by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARK))
    return importlib.import_module


@pytest.fixture
def split_images(images, tmp_path):
    """Eight images of two colors that train, and four that report, of each color."""
    for path in images.glob("*/*.png"):
        copy = tmp_path / "images" / ("train" if path.stem < "08" else "val")
        copy = copy / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return tmp_path / "images"


@pytest.fixture
def transfer(module, monkeypatch, tmp_path, split_images):
    """The script, with one set and results in a temporary folder."""
    script = module("transfer")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(script, "FOLDER", tmp_path)
    monkeypatch.setitem(script.SETS, "hymenoptera", module("image_sets").ImageSet("hymenoptera"))
    return script


@pytest.fixture
def run(transfer, monkeypatch, split_images):
    """Run the script on the images."""

    def call(verb, *methods):
        given = ["--sets", "hymenoptera", "--folders", f"hymenoptera={split_images}"]
        words = ["transfer.py", verb, *given, "--methods", *methods]
        monkeypatch.setattr(sys, "argv", words)
        return transfer.main()

    return call


def fake(accuracies):
    """Return what stands for a measurement, and the methods that it measured."""
    measured = []

    def measure(cell, folder):
        measured.append(cell.method)
        if accuracies[cell.method] is None:
            raise subprocess.CalledProcessError(1, "fit", stderr="no luck")
        chosen = {"strategy": {"class_path": "tltool.LPFT"}, "lr": 1e-3, "epochs": 4}
        return {"correct": {"last": accuracies[cell.method]}, "minutes": 2.0, **chosen}

    return measure, measured


def test_a_later_call_measures_only_what_is_missing(run, transfer, monkeypatch):
    measure, measured = fake({"probe": "1100", "fit": "1110"})
    monkeypatch.setattr(transfer, "measure", measure)
    assert (run("run", "probe"), run("run", "probe", "fit")) == (0, 0)
    assert measured == ["probe", "fit"]


def test_another_image_is_another_result(run, transfer, monkeypatch, split_images, tmp_path):
    measure, measured = fake({"probe": "1100"})
    monkeypatch.setattr(transfer, "measure", measure)
    run("run", "probe")
    Image.new("RGB", (40, 40), (9, 9, 9)).save(split_images / "val" / "red" / "08.png")
    run("run", "probe")
    assert len(measured) == len(list((tmp_path / "results").iterdir())) == 2


def test_a_method_that_fails_stops_no_other_and_is_not_kept(
    run, transfer, monkeypatch, tmp_path, capsys
):
    measure, measured = fake({"fastai": None, "fit": "1110"})
    monkeypatch.setattr(transfer, "measure", measure)
    assert run("run", "fastai", "fit") == 1
    assert measured == ["fastai", "fit"]
    assert len(list((tmp_path / "results").glob("*/*.json"))) == 1
    assert "no luck" in capsys.readouterr().err


def test_the_table_flags_a_set_below_the_probe(run, transfer, monkeypatch, capsys):
    monkeypatch.setattr(transfer, "measure", fake({"probe": "1111", "fit": "0000"})[0])
    run("run", "probe", "fit")
    assert "| hymenoptera | **-1.000 +- 0.000** |" in capsys.readouterr().out


def test_an_unknown_method_is_refused(run):
    with pytest.raises(SystemExit, match=r"Unknown method 'fti'\. Choose from: probes, strategies"):
        run("run", "fti")


def test_a_set_that_no_package_brings_needs_its_folder(module, tmp_path):
    with pytest.raises(FileNotFoundError, match="--folders brain_mri=DIR"):
        module("image_sets").make_set("brain_mri", {}, tmp_path)


def test_a_draw_keeps_the_share_of_each_class_and_is_the_same_again(module):
    sets = module("image_sets")
    items = [sets.Item(f"{n}.png", "ab"[n % 4 == 0], Path()) for n in range(400)]
    drawn = sets.drawn(items, 100)
    assert [item.label for item in drawn] == ["a"] * 75 + ["b"] * 25
    assert drawn == sets.drawn(items, 100) != sets.drawn(items[::-1], 100)


def test_a_paired_difference_is_over_shared_seeds_and_one_probe_serves_all(module):
    results, cell = module("transfer_results"), module("transfer_methods").Cell
    fits = [cell("digits", "fit", seed, "resnet18", 160) for seed in (0, 1)]
    probe = cell("digits", "probe", 0, "resnet18", 160)
    right = {fits[0]: "1110", fits[1]: "1111", probe: "1010"}
    rows = {key: {"correct": {"last": value}} for key, value in right.items()}
    assert results.paired(fits, [probe], rows).mean == pytest.approx(3 / 8)
    assert results.paired(fits, fits[1:], rows).mean == 0


def test_a_run_that_chose_its_strategy_counts_with_the_checkpoint_that_it_chose(module):
    row = {"correct": {"last": "00", "best": "11"}}
    correct_of = module("transfer_results").correct_of
    assert correct_of(row).tolist() == [0, 0]
    assert correct_of({**row, "counts": "best"}).tolist() == [1, 1]


def test_the_reference_tells_two_colors_apart(module, monkeypatch, split_images, capsys):
    spec = {"backbone": "tf_efficientnet_lite0", "img_size": 64, "seed": 0}
    spec |= {"folder": str(split_images)}
    monkeypatch.setattr(sys, "argv", ["reference.py", json.dumps(spec)])
    module("reference").main()
    found = json.loads(capsys.readouterr().out)["predicted"]
    assert module("transfer_methods").correct(found, split_images) == "1" * 8


@pytest.mark.slow
def test_a_fit_is_measured_with_options_of_the_command_line(module, split_images):
    methods = module("transfer_methods")
    options = "data.batch_size=8+model.backbone.weights=random+trainer.max_epochs=1"
    cell = methods.Cell("hymenoptera", f"LinearProbe+{options}", 0, "test_resnet", 32)
    row = methods.measure(cell, split_images)
    assert (row["epochs"], row["strategy"]["class_path"]) == (1, "tltool.LinearProbe")
    assert {len(correct) for correct in row["correct"].values()} == {8}
