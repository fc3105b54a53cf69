"""The commands on tables whose labels are several classes or numbers."""

import runpy
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from tltool.__main__ import main
from tltool.training.checkpoint_io import TASK

job = runpy.run_path(str(Path(__file__).parents[1] / "training" / "labels_job.py"))
OBJECTIVES = job["OBJECTIVES"]
SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data", "ManifestDataModule"),
    *("--data.batch_size", "8", "--data.num_workers", "0", "--trainer.accelerator", "cpu"),
]


def words(folder, objective):
    table = folder / "images" / f"{objective}.csv"
    return ["--data.manifest", str(table), "--model.objective", objective]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Tables, and a run of one epoch on each."""
    folder = tmp_path_factory.mktemp("labels")
    job["write_tables"](folder / "images")
    for objective in OBJECTIVES:
        own = [*words(folder, objective), "--run_dir", str(folder / objective)]
        options = ["--finetuning", "LinearProbe", "--ending.average", "wise_ft"]
        assert main(["fit", *SMALL, *own, *options, "--trainer.max_epochs", "1"]) == 0
    return folder


@pytest.fixture
def resume(trained, run_tltool, tmp_path):
    """Return a function that trains a copy of a run for one epoch more."""

    def run(objective, *changed):
        shutil.copytree(trained, tmp_path / "copy")
        own = [*words(tmp_path / "copy", objective), "--run_dir", tmp_path / "copy" / objective]
        options = ["--finetuning", "LinearProbe", "--ending.average", "wise_ft"]
        return run_tltool("fit", *SMALL, *own, *options, "--trainer.max_epochs", 2, *changed)

    return run


@pytest.mark.parametrize(("objective", "monitor"), job["MONITORS"].items())
def test_a_run_chooses_and_reports_by_the_score_of_its_labels(
    run_tltool, trained, objective, monitor
):
    status, out, err = run_tltool(
        "fit", *SMALL, *words(trained, objective), "--trainer.max_epochs", 1, "--run_dir", "run"
    )
    assert status == 0, err
    assert f"best {monitor} " in out
    score = {"multi_label": "mAP", "regression": "MAE"}[objective]
    assert f"probe     {score} " in out
    assert f"     this run {score} " in out


def test_the_yaml_that_is_printed_holds_the_objective(run_tltool, trained):
    _, out, _ = run_tltool(
        "fit", *SMALL, *words(trained, "regression"), "--trainer.fast_dev_run", "true"
    )
    printed = yaml.safe_load(out.split("(tltool fit --config FILE):\n")[1].split("\n\n")[0])
    assert printed["model"]["objective"] == "regression"


@pytest.mark.parametrize(
    ("objective", "changed", "told"),
    [
        ("regression", ["--model.regression_loss", "huber"], "resume    model.regression_loss was"),
        ("multi_label", ["--model.thresholds", "[.3,.4,.6]"], "resume    model.thresholds was"),
    ],
)
def test_what_may_change_when_a_run_is_resumed_is_told(resume, objective, changed, told):
    status, out, err = resume(objective, *changed)
    assert status == 0, err
    assert told in out


def test_another_objective_is_refused_when_a_run_is_resumed(resume):
    status, _, err = resume("regression", "--model.objective", "single_label")
    assert status == 1
    assert "model.objective was 'regression' and is 'single_label': its outputs stand for" in err


def test_given_thresholds_are_kept(resume, tmp_path):
    resume("multi_label", "--model.thresholds", "[.3,.4,.6]")
    path = tmp_path / "copy" / "multi_label" / "checkpoints" / "best.ckpt"
    assert torch.load(path, weights_only=True)[TASK]["thresholds"] == [0.3, 0.4, 0.6]


def test_a_merge_keeps_the_thresholds_that_were_given_to_its_run(resume, run_tltool, tmp_path):
    resume("multi_label", "--model.thresholds", "[.3,.4,.6]")
    status, _, err = run_tltool("merge", tmp_path / "copy" / "multi_label")
    assert status == 0, err
    merged = torch.load(tmp_path / "merged.ckpt", weights_only=True)
    assert merged[TASK]["thresholds"] == [0.3, 0.4, 0.6]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_doctor_checks_other_labels(run_tltool, trained, objective):
    status, out, err = run_tltool("doctor", *SMALL, *words(trained, objective))
    assert status == 0, err
    assert " 0 failed" in out


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_merge_chooses_by_the_score_of_its_labels(run_tltool, trained, objective):
    status, out, err = run_tltool("merge", trained / objective, "--output", "merged.ckpt")
    assert status == 0, err
    assert job["MONITORS"][objective] in out


def test_advice_for_one_class_refuses_other_labels(run_tltool, trained):
    status, _, err = run_tltool("plan", *SMALL, *words(trained, "regression"), "--advise")
    assert status == 1
    assert "Advice is for one class of each image, and the objective is regression" in err
