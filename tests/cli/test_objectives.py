"""Several labels an image, and numbers: what comes after a fit."""

import csv

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, mean_absolute_error

import tltool
from tltool.__main__ import main

pytestmark = pytest.mark.slow  # Each module fixture is a fit.

NETWORK = ["--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"]
SMALL = [*NETWORK, "--model.backbone.img_size", "32", "--model.head.hidden_features", "[]"]
QUICK = ["--data.batch_size", "8", "--data.num_workers", "0", "--trainer.accelerator", "cpu"]


def write_manifest(folder, objective):
    """Write images with a blue half, a red half, or both; or of some brightness."""
    generator = torch.Generator().manual_seed(0)
    lines = ["path,label,split"]
    for number in range(60):
        pixels = torch.full((32, 32, 3), 60.0)
        if objective == "multi_label":
            blue, red = number % 2, number % 3 == 0
            pixels[:, :16, 2] += 40 * blue
            pixels[:, 16:, 0] += 40 * red
            label = ";".join(["blue"] * blue + ["red"] * red)
        else:
            label = f"{number % 10 / 4 + number % 3 / 100:g}"
            pixels *= 0.5 + float(label)
        pixels += 40 * torch.randn(3, generator=generator)  # Of the light.
        Image.fromarray(pixels.clamp(0, 255).byte().numpy()).save(folder / f"{number}.png")
        split = "train" if number < 36 else "val" if number < 48 else "test"
        lines.append(f"{number}.png,{label},{split}")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    return folder / "images.csv"


@pytest.fixture(scope="module", params=["multi_label", "regression"])
def finished(request, tmp_path_factory):
    """The objective, the manifest and the run directory of a finished run."""
    folder, objective = tmp_path_factory.mktemp("data"), request.param
    manifest = write_manifest(folder, objective)
    options = [
        "--data",
        "ManifestDataModule",
        "--data.manifest",
        str(manifest),
        "--model.objective",
        objective,
    ]
    places = ["--runs_dir", str(folder / "runs"), "--name", "it"]
    training = ["--trainer.max_epochs", "2", "--finetuning", "LinearProbe"]
    assert main(["fit", *SMALL, *QUICK, *options, *places, *training]) == 0
    return objective, manifest, folder / "runs" / "it" / "0"


@pytest.fixture
def evaluate(finished):
    """Return a function that runs a command on the checkpoint and the manifest."""
    _, manifest, run = finished
    checkpoint = str(run / "checkpoints" / "best.ckpt")

    def run_command(command, *options):
        data = ["--data", "ManifestDataModule", "--data.manifest", str(manifest), *QUICK]
        assert main([command, "--ckpt_path", checkpoint, *data, *options]) == 0

    return run_command


@pytest.fixture
def table(evaluate, tmp_path):
    """The rows of a table of predictions of the whole manifest."""
    evaluate("predict", "--output", str(tmp_path / "found.csv"))
    with (tmp_path / "found.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_column_of_the_number_or_a_probability_for_each_class(finished, table):
    objective, _, _ = finished
    classes = ["prediction", "probability:blue", "probability:red"]
    expected = classes if objective == "multi_label" else ["target"]
    assert list(table[0]) == ["path", "label", *expected]
    assert len(table) == 60


def test_what_is_measured_is_what_scikit_learn_finds_in_the_table(
    finished, table, evaluate, capsys
):
    evaluate("test")
    printed = capsys.readouterr().out
    rows = table[48:]
    if finished[0] == "regression":
        columns = [[float(row[name]) for row in rows] for name in ("label", "target")]
        assert f"{mean_absolute_error(*columns):.4g}" in printed
        return
    names = ["blue", "red"]
    true = [[name in row["label"].split(";") for name in names] for row in rows]
    found = [[float(row[f"probability:{name}"]) for name in names] for row in rows]
    said = [[name in row["prediction"].split(";") for name in names] for row in rows]
    assert f"{average_precision_score(true, found, average='macro'):.4f}" in printed
    assert f"{f1_score(true, said, average='macro', zero_division=0):.4f}" in printed


def test_parquet_holds_numbers(evaluate, finished, tmp_path):
    evaluate("predict", "--output", str(tmp_path / "found.parquet"))
    column = "target" if finished[0] == "regression" else "probability:red"
    assert pq.read_table(tmp_path / "found.parquet").schema.field(column).type == "double"


def test_an_image_is_predicted_as_in_the_table(finished, table):
    objective, manifest, run = finished
    predictor = tltool.load(run / "checkpoints" / "best.ckpt")
    found = predictor.predict(manifest.parent / "3.png")
    row = next(row for row in table if row["path"].endswith("/3.png"))
    assert predictor.objective == objective
    if objective == "regression":
        assert found.value == pytest.approx(float(row["target"]), rel=1e-4)
    else:
        assert found.label == row["prediction"]


def test_top_k_of_a_number_is_refused(finished, evaluate, capsys):
    if finished[0] == "multi_label":
        evaluate("predict", "--top_k", "1", "--output", str(finished[2] / "top.csv"))
        assert "path,label,prediction,top1,probability1" in (finished[2] / "top.csv").read_text()
        return
    with pytest.raises(AssertionError):
        evaluate("predict", "--top_k", "1")
    assert "--top_k is about classes" in capsys.readouterr().err


def test_a_report_says_the_score_and_its_baselines(finished, capsys):
    objective, _, run = finished
    assert main(["report", str(run)]) == 0
    printed, page = capsys.readouterr().out, (run / "report.html").read_text()
    name, constant = (
        ("mAP", "class frequencies") if objective == "multi_label" else ("MAE", "median")
    )
    assert f"{name} on 12 test images" in printed
    assert constant in printed
    assert ("Per-class metrics" if objective == "multi_label" else "Residuals") in page
    assert (run / "predictions.png").is_file()


def test_a_report_with_overlays_is_refused(finished, capsys):
    assert main(["report", str(finished[2]), "--overlays", "2"]) == 1
    assert "--overlays is of one class for each image" in capsys.readouterr().err


def test_heads_are_compared_by_the_score_of_the_labels(finished, tmp_path, capsys):
    objective, manifest, _ = finished
    options = [
        "--data",
        "ManifestDataModule",
        "--data.manifest",
        str(manifest),
        "--model.objective",
        objective,
    ]
    places = ["--runs_dir", str(tmp_path), "--name", "heads", "--trainer.max_epochs", "2"]
    heads = ["--axes.depth", "0", "1", "--axes.seed", "0", "1", "--folds", "3"]
    assert main(["compare", *NETWORK, *QUICK, *options, *places, *heads]) == 0
    with next(tmp_path.glob("heads/*/compare.csv")).open() as file:
        rows = list(csv.DictReader(file))
    assert {"map" if objective == "multi_label" else "mae", "difference"} <= rows[0].keys()
    assert ("mAP" if objective == "multi_label" else "MAE") in capsys.readouterr().out


def test_the_lecture_is_refused(finished, capsys):
    objective, manifest, _ = finished
    options = [
        "--data",
        "ManifestDataModule",
        "--data.manifest",
        str(manifest),
        "--model.objective",
        objective,
    ]
    assert main(["compare", "--lecture", "all", *NETWORK, *QUICK, *options]) == 1
    assert "The lecture is about images of one class each" in capsys.readouterr().err
