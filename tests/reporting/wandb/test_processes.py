"""Runs on Weights & Biases that take more than one process: two ranks, and a sweep's agent."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from wandb.wandb_agent import Agent

JOB = Path(__file__).with_name("two_ranks_run_job.py")
ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "configs" / "sweep").glob("*.yaml"))
SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.max_epochs", "2"),
]


@pytest.mark.slow
def test_two_ranks_are_one_run_with_all_images_in_it(run_two_ranks, offline_runs, images, tmp_path):
    ranks = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
    data = ["--data.root", images, "--runs_dir", tmp_path, "--wandb.project", "test"]
    run_two_ranks(JOB, *map(str, [*SMALL, *ranks, *data]))
    folders = list(tmp_path.rglob("offline-run-*"))
    assert len(folders) == 1
    (run,) = offline_runs(folders[0].parents[1])
    assert run.config["devices"] == 2
    (table,) = [row["last/classes"] for row in run.history if "last/classes" in row]
    rows = json.loads((run.files / table["path"]).read_text())["data"]
    assert [row[:2] for row in rows] == [["blue", 2], ["red", 2]]
    assert run.summary["best/accuracy"] == max(
        row["val/accuracy"] for row in run.history if "val/accuracy" in row
    )
    assert run.summary["val/accuracy_of_probe"] == 1.0


def chosen(parameter, index):
    values = parameter.get("values") or [parameter["min"], parameter["max"]]
    return values[index % len(values)]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_has_an_end(path):
    sweep = yaml.safe_load(path.read_text())
    assert sweep["method"] == "grid" or sweep["run_cap"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweeps_agent_makes_a_run_of_each_choice(
    path, index, offline_runs, images, tmp_path, monkeypatch
):
    sweep = yaml.safe_load(path.read_text())
    values = {name: chosen(each, index) for name, each in sweep["parameters"].items()}
    # The agent's own step from a choice of its server to a process, which inherits all this.
    monkeypatch.chdir(ROOT)
    environment = {"WANDB_SWEEP_ID": "s1", "WANDB_DIR": tmp_path, "PYTHONPATH": ROOT}
    environment["WANDB_PROJECT"] = sweep["project"]
    environment |= {"WANDB_MODE": "offline", "WANDB_RUN_ID": "", "WANDB_SWEEP_PARAM_PATH": ""}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    agent = Agent(api=None, queue=None, sweep_id="s1")
    data = ["--data", "ImageFolderDataModule", "--data.root", str(images)]
    agent._sweep_command = [*sweep["command"], *data, *SMALL, "--runs_dir", str(tmp_path / "runs")]
    arguments = {key: {"value": value} for key, value in values.items()}
    agent._command_run({"run_id": f"id{index}", "program": sweep["program"], "args": arguments})
    assert agent._run_processes[f"id{index}"].wait(timeout=200) == 0

    (run,) = offline_runs(next((tmp_path / "runs").rglob("wandb_run.json")).parent)
    assert run.id == f"id{index}"
    assert values.items() <= run.config.items()
    assert run.config["activation"] == values["model.head.activation"]
    assert sweep["metric"]["name"] in run.summary
