"""Commands in a job: what a launcher has started counts, and other jobs' checkpoints do not."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tltool.__main__ import main
from tltool.cli.sections import experiment_parser

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--name", "run", "--finetuning", "LinearProbe"),
    *("--trainer.max_epochs", "1", "--features.enabled", "false"),
]
BEST = "runs/run/0/checkpoints/best.ckpt"
JOB = {"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
DDP = "lightning.pytorch.strategies.DDPStrategy"


@pytest.fixture(scope="module")
def good_run(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("good")
    words = ["fit", "--data.root", str(images), *SMALL, "--runs_dir", str(folder / "runs")]
    assert main(words) == 0
    return folder / "runs"


@pytest.fixture
def job(good_run, tmp_path, monkeypatch):
    """A folder with a run, in a job of Slurm; another job has left its weights there."""
    shutil.copytree(good_run, tmp_path / "runs")
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    checkpoint = torch.load(tmp_path / BEST, weights_only=True)
    checkpoint["state_dict"]["head.output.weight"] *= -1
    torch.save(checkpoint, tmp_path / "hpc_ckpt_1.ckpt")
    (tmp_path / "hpc_ckpt_2.ckpt.2012345.partial").write_bytes(b"killed")


@pytest.fixture
def measure(run_tltool, images):
    """Return a function that runs a command on `best.ckpt`, and gives what it prints or writes."""

    def run(command):
        words = ["--ckpt_path", BEST, "--data.root", images, "--data.num_workers", 0]
        status, out, err = run_tltool(command, *words, "--trainer.accelerator", "cpu")
        assert status == 0, err
        return Path("predictions.csv").read_text() if command == "predict" else out

    return run


@pytest.mark.parametrize("command", ["validate", "predict"])
def test_a_checkpoint_is_measured_and_not_that_of_another_job(measure, job, monkeypatch, command):
    beside_another = measure(command)
    monkeypatch.delenv("SLURM_NTASKS")
    Path("hpc_ckpt_1.ckpt").unlink()
    assert measure(command) == beside_another


def test_a_fit_begins_its_own_training_and_not_that_of_another_job(run_tltool, images, job):
    status, out, err = run_tltool("fit", "--data.root", images, *SMALL)
    assert status == 0, err
    assert "epoch 1/1" in err + out


def test_devices_that_nobody_started_are_refused_before_anything_is_written(
    run_tltool, images, monkeypatch, tmp_path
):
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    status, _, err = run_tltool("fit", "--data.root", images, *SMALL, "--trainer.devices", 2)
    assert status == 1
    assert err.startswith("error: Slurm has started 1 process on a node, but trainer.devices asks")
    assert not list(tmp_path.iterdir())


def test_the_directory_of_the_trainer_is_that_of_the_run(run_tltool, images, tmp_path):
    words = ["fit", "--data.root", images, *SMALL, "--trainer.default_root_dir", tmp_path]
    status, _, err = run_tltool(*words)
    assert status == 1
    assert "Leave it out, and set --runs_dir" in err


def test_a_strategy_that_does_not_work_is_refused_in_one_line(run_tltool, images):
    status, _, err = run_tltool(
        "fit", "--data.root", images, *SMALL, "--trainer.strategy", "ddp_spawn"
    )
    assert (status, err.count("\n")) == (1, 1)
    assert "Set --trainer.strategy ddp." in err


@pytest.mark.parametrize("name", ["DDPStrategy", "ModelParallelStrategy"])
@pytest.mark.parametrize("time", [[], ["--trainer.strategy.timeout", "0:05:00"]])
def test_a_strategy_by_class_path_is_written_and_read_again(images, name, time):
    parser = experiment_parser("fit")
    words = ["--data.root", str(images)]
    words += ["--trainer.strategy", f"lightning.pytorch.strategies.{name}", *time]
    words += ["--trainer.strategy.process_group_backend", "gloo"]
    text = parser.dump(parser.parse_args(words), skip_unset=False)
    again = parser.parse_string(text).trainer.strategy.init_args
    assert str(again.timeout) == ("0:05:00" if time else "0:30:00")


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_torchrun_starts_one_training_of_as_many_devices(images, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "-m", "tltool", "fit", "--data.root", str(images), *SMALL]
    command += ["--trainer.strategy", DDP, "--trainer.strategy.timeout", "0:05:00"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = ("ranks     2: 1 node of 2 devices", "Phase probe:", "epoch 1/1")
    assert [(done.stdout + done.stderr).count(line) for line in lines] == [1, 1, 1]
    trainer = yaml.safe_load((tmp_path / "runs/run/0/config.yaml").read_text())["trainer"]
    assert (trainer["devices"], os.listdir(tmp_path / "runs/run")) == (2, ["0"])
    assert trainer["strategy"]["init_args"]["timeout"] == "0:05:00"


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_node_with_other_images_ends_all_ranks_and_is_named_once(images, tmp_path):
    other = shutil.copytree(images, tmp_path / "other")
    (other / "red" / "00.png").rename(other / "red" / "99.png")
    outputs = srun(tmp_path, ["--data.root", str(images)], ["--data.root", str(other)])
    assert [status for status, _ in outputs] == [1, 1]
    text = "".join(text for _, text in outputs)
    assert text.count("error on rank") == 1
    assert "data.init_args.root is" in text
    assert "images is 20 train, 4 val (listing" in text


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_file_that_one_rank_lacks_ends_all_ranks_with_its_cause(images, tmp_path):
    weights = ["--data.root", str(images), "--model.backbone.weights", str(tmp_path / "none.pt")]
    (_, first), (_, second) = outputs = srun(tmp_path, ["--data.root", str(images)], weights)
    assert [status for status, _ in outputs] == [1, 1]
    assert "error on rank 1 (" in second
    assert "Ended, for rank 1 (" in first
    assert "none.pt" in first


def srun(folder, *words_of_ranks):
    """Run `fit` as tasks of srun on this machine; return exit status and text of each."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(sock.getsockname()[1])}
    job |= JOB | {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NODEID": "0"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tltool", "fit", *SMALL, *words],
            cwd=folder,
            env=os.environ | job | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, words in enumerate(words_of_ranks)
    ]
    try:
        texts = [rank.communicate(timeout=240)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, text) for rank, text in zip(ranks, texts, strict=True)]
