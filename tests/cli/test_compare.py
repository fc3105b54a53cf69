"""`tltool compare` from the command line."""

import csv
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from tltool.cli.compare_config import optimizer_spec

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
]
QUICK = ["--trainer.max_epochs", "2", "--folds", "3", "--axes.seed", "0", "1", "--axes.width", "8"]


@pytest.fixture
def tltool(run_tltool, tmp_path, monkeypatch, images):
    """Run a command in an empty folder and return its exit status, output and errors."""
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")

    def run(command, *args, data=images):
        return run_tltool(command, "--data.root", data, *SMALL, *args)

    return run


@pytest.fixture
def compare(tltool):
    """Compare small heads quickly."""
    return lambda *args, **options: tltool("compare", *QUICK, *args, **options)


def table():
    with Path("runs/compare/0/compare.csv").open(newline="") as file:
        return {row["head"]: row for row in csv.DictReader(file)}


def test_the_first_line_says_that_there_is_no_difference(compare):
    status, out, _ = compare("--axes.activation", "relu", "gelu")
    assert status == 0
    assert out.startswith("No difference beyond noise. To see ")
    assert "2 times 3 stratified folds of 24 images" in out


def test_values_of_an_axis_are_yaml(compare):
    leaky = "{name: leaky_relu, negative_slope: 0.2}"
    compare("--axes.activation", leaky, "--axes.norm", "null", "batch", "--axes.bias", 0.01)
    name = "leaky_relu(negative_slope=0.2), {}, bias 0.01, width 8"
    assert list(table()) == [name.format("no norm"), name.format("batch")]


def test_axes_may_stand_in_the_yaml(compare, tmp_path):
    (tmp_path / "axes.yaml").write_text("axes: {norm: [null, batch], depth: [2]}")
    status, _, _ = compare("--config", "axes.yaml")
    assert status == 0
    assert list(table()) == ["no norm, depth 2, width 8", "batch, depth 2, width 8"]


def test_the_pictures_are_there(compare):
    compare("--axes.activation", "relu", "gelu", "--axes.depth", 0, 1)
    for name in ("curves", "heatmap"):
        with Image.open(f"runs/compare/0/{name}.png") as picture:
            assert picture.width > 400


def test_a_test_part_reports(compare, images, tmp_path):
    for part in ("train", "val", "test"):
        shutil.copytree(images, tmp_path / "parts" / part)
    options = ("--axes.activation", "relu", "gelu", "--folds", "null")
    _, out, _ = compare(*options, data=tmp_path / "parts")
    assert "24 training images; lr chosen on 24 validation images; accuracy on 24 test" in out


def test_groups_of_the_data_stay_on_one_side(compare, images, tmp_path):
    names = sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))
    rows = [f"{name},{name.split('/')[0]},{number % 8}" for number, name in enumerate(names)]
    (tmp_path / "images.csv").write_text("\n".join(["path,label,group", *rows]))
    data = ("--data", "ManifestDataModule", "--data.manifest", tmp_path / "images.csv")
    _, out, _ = compare("--axes.activation", "relu", "gelu", *data)
    assert "3 group-wise folds of 24 images" in out
    assert ", in 8 groups" in out


@pytest.mark.slow
def test_a_second_comparison_computes_no_feature(compare):
    _, _, first = compare("--axes.activation", "relu")
    _, _, second = compare("--axes.activation", "gelu")
    assert "rows to compute" in first
    assert "rows to compute" not in second


def test_a_written_config_trains_the_head_that_was_named(tltool, compare):
    named = "gelu, dropout 0.25, width 8, SGD"
    compare(
        *("--axes.activation", "relu", "gelu", "--axes.dropout", 0.25, "--axes.optimizer", "SGD"),
        *("--write_config", "head.yaml", "--write_head", named),
    )
    config = yaml.safe_load(Path("head.yaml").read_text())
    assert config["optimizer"]["class_path"] == "SGD"
    assert config["optimizer"]["init_args"]["lr"] == pytest.approx(
        float(table()[named]["learning_rate"]), rel=0.01
    )
    status, _, _ = tltool("fit", "--config", "head.yaml")
    assert status == 0
    saved = torch.load("runs/images/0/checkpoints/last.ckpt", weights_only=True)
    head = saved["task_config"]["head"]["init_args"]
    assert (head["activation"], head["dropout"], head["hidden_features"]) == ("gelu", 0.25, [8])


def test_without_a_finding_the_reference_is_written(compare):
    compare("--axes.activation", "gelu", "relu", "--write_config", "head.yaml")
    head = yaml.safe_load(Path("head.yaml").read_text())["model"]["head"]
    assert head == {"hidden_features": [8]}


def test_one_rate_for_all_leaves_no_choice(compare):
    _, out, _ = compare("--axes.activation", "relu", "gelu", "--lr", 0.002)
    assert "lr 0.002" in out
    assert {row["learning_rate"] for row in table().values()} == {"0.002"}


def test_a_quick_comparison_is_small_and_how_long_it_takes_is_said_before(tltool):
    options = ("--quick", "--trainer.max_epochs", 1, "--axes.activation", "relu", "gelu")
    status, out, err = tltool("compare", *options, "--axes.width", 8)
    assert status == 0
    words = r"Training 12 heads \(2 variants x 2 seeds x 3 folds\), about (\d+ min )?\d+ s\.\n"
    assert re.search(words, err)
    assert "3 stratified folds of 24 images: one tests, the usual lr of each optimizer" in out


def test_heads_train_for_all_epochs_where_a_strategy_trains_them_alone_for_some(compare):
    head = ("--axes.activation", "relu", "gelu", "--write_config", "head.yaml")
    compare(*head, "--finetuning", "LPFT", "--trainer.max_epochs", 3)
    assert yaml.safe_load(Path("head.yaml").read_text())["trainer"]["max_epochs"] == 3


@pytest.mark.slow
def test_each_head_is_a_run_of_one_group_on_request(compare):
    status, out, _ = compare("--axes.activation", "relu", "gelu", "--wandb.project", "heads")
    assert status == 0
    assert "2 runs in the group compare/0" in out
    assert len(list(Path("runs/compare/0/wandb").glob("offline-run-*"))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--axes.activaton", "relu"], "Did you mean axes.activation"),
        (["--axes.activation", "relu", "gleu"], "Did you mean 'gelu'"),
        (["--axes.activation", "relu", "relu"], "'relu' twice"),
        (["--axes.dropout", "1.5"], "in [0, 1), got 1.5"),
        (["--reference", "tahn, width 8"], "Choose one of: "),
        (["--write_head", "relu"], "add --write_config head.yaml"),
        (["--write_config", "no/head.yaml"], "Create it first"),
        (["--model.head", "torch.nn.Linear"], "--axes.depth 0"),
        (["--optimizer", "LBFGS"], "Choose one of: "),
        (["--folds", "2"], "at least 3 folds"),
    ],
)
def test_what_cannot_be_is_refused(compare, options, message):
    status, _, err = compare(*options)
    assert status in (1, 2)
    assert message in err


def test_an_optimizer_is_written_as_what_is_unusual_of_it():
    usual = {"lr": 1e-3, "weight_decay": 0.05, "betas": [0.9, 0.999]}
    assert optimizer_spec({"class_path": "torch.optim.AdamW", "init_args": usual}) == "AdamW"
    light = {"class_path": "torch.optim.AdamW", "init_args": usual | {"weight_decay": 0.01}}
    assert optimizer_spec(light) == {"name": "AdamW", "weight_decay": 0.01}


def test_the_options_of_the_lecture_are_offered_to_no_other_command(tltool):
    tltool("compare", "--lecture", "Saturatoin")
    status, _, err = tltool("fit", "--model.head.hiden_features", "[8]")
    assert status == 2
    assert "Did you mean model.head.hidden_features?" in err
