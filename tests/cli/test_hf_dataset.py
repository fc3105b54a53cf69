"""A data set of Hugging Face through training, resume and prediction."""

import csv

import pytest
from datasets import DatasetDict, load_dataset

from tests.conftest import write_images
from tltool.__main__ import main

CPU = ["--trainer.accelerator", "cpu", "--data.num_workers", "0"]
RUN = [
    *("fit", *CPU, "--data.batch_size", "4", "--health.enabled", "false"),
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--finetuning", "LinearProbe"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A data set on disk, made of images in class folders, and a run of one epoch on it."""
    folder = tmp_path_factory.mktemp("run")
    write_images(folder / "images", per_class=8, size=32)
    cache = str(folder / "cache")
    data = load_dataset("imagefolder", data_dir=folder / "images", cache_dir=cache)
    halves = data["train"].train_test_split(0.25, stratify_by_column="label", seed=0)
    DatasetDict(train=halves["train"], test=halves["test"]).save_to_disk(folder / "flowers")
    assert fit(folder, "--trainer.max_epochs", "1") == 0
    return folder


def fit(folder, *words):
    (folder / "data.yaml").write_text(
        f"data: {{class_path: HFDataModule, init_args: {{root: {folder / 'flowers'}}}}}"
    )
    places = ["--config", folder / "data.yaml", "--runs_dir", folder / "runs"]
    return main([str(word) for word in [*RUN[:1], *places, *RUN[1:], *words]])


def test_a_run_goes_on(run):
    last = run / "runs/flowers/0/checkpoints/last.ckpt"
    assert fit(run, "--trainer.max_epochs", "2", "--ckpt_path", last) == 0


def test_all_rows_are_predicted_beside_their_labels(run):
    best = run / "runs/flowers/0/checkpoints/best.ckpt"
    data = ["--data", "HFDataModule", "--data.root", run / "flowers"]
    words = ["predict", "--ckpt_path", best, "--output", run / "out.csv", *data, *CPU]
    assert main([str(word) for word in words]) == 0
    rows = list(csv.DictReader((run / "out.csv").read_text().splitlines()))
    assert len(rows) == 16
    assert {row["label"] for row in rows} == {"blue", "red"}
