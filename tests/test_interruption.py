"""Runs that are interrupted or killed leave a checkpoint from which they go on."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch


def start(photos, runs, *args):
    command = [sys.executable, "-m", "tltool", "fit", "--data.root", str(photos), "--name", "run"]
    command += ["--runs_dir", str(runs), "--model.backbone.name", "test_resnet"]
    command += ["--model.backbone.weights", "random", "--model.backbone.img_size", "32"]
    command += ["--data.batch_size", "4", "--data.num_workers", "0", *args]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=listen_to_ctrl_c,  # noqa: PLW1509  # no threads here
    )


def listen_to_ctrl_c():
    """Undo what a shell does to its background jobs, under which these tests may run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for_epoch(metrics, epoch, seconds=120):
    for _ in range(seconds * 20):
        if metrics.is_file() and f"\n{epoch}," in metrics.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"epoch {epoch} was not reached")


@pytest.mark.parametrize(
    "signal_number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"]
)
def test_an_ended_run_goes_on_from_its_last_checkpoint(photos, tmp_path, signal_number):
    run = tmp_path / "run" / "0"
    process = start(photos, tmp_path, "--trainer.max_epochs", "1000")
    wait_for_epoch(run / "metrics.csv", 2)
    os.kill(process.pid, signal_number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    last = run / "checkpoints" / "last.ckpt"
    epoch = torch.load(last, weights_only=True)["epoch"]
    assert epoch >= 1
    resume = ["--ckpt_path", str(last), "--trainer.max_epochs", str(epoch + 3)]
    output, _ = start(photos, tmp_path, *resume).communicate(timeout=120)
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    epochs = [int(row["epoch"]) for row in rows if row["val/loss"]]
    assert epochs == list(range(epoch + 3)), output


def test_a_run_killed_before_its_first_epoch_ends_can_be_resumed(photos, tmp_path):
    process = start(photos, tmp_path, "--trainer.max_epochs", "1000")
    last = tmp_path / "run" / "0" / "checkpoints" / "last.ckpt"
    while not last.is_file() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    resume = ["--ckpt_path", str(last), "--trainer.max_epochs", "1"]
    output, _ = start(photos, tmp_path, *resume).communicate(timeout=120)
    assert "best val/accuracy" in output


def test_an_interrupted_run_says_how_to_go_on(photos, tmp_path):
    process = start(photos, tmp_path, "--trainer.max_epochs", "1000")
    wait_for_epoch(tmp_path / "run" / "0" / "metrics.csv", 1)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"--ckpt_path {tmp_path}/run/0/checkpoints/last.ckpt" in output
    assert "Traceback" not in output
