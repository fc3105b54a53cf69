"""Runs that are interrupted or killed leave a checkpoint from which they go on."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tltool.training.distributed.run_status import UNFINISHED, read_status


def start(images, runs, *args):
    command = [sys.executable, "-m", "tltool", "fit", "--data.root", str(images), "--name", "run"]
    command += ["--runs_dir", str(runs), "--model.backbone.name", "test_resnet"]
    command += ["--model.backbone.weights", "random", "--model.backbone.img_size", "32"]
    command += ["--data.batch_size", "4", "--data.num_workers", "0", *args]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Without W&B's process of an earlier test, which a run would share.
        env={name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"},
        preexec_fn=listen_to_ctrl_c,  # noqa: PLW1509  # no threads here
    )


def listen_to_ctrl_c():
    """Undo what a shell does to its background jobs, under which these tests may run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(metrics, text, seconds=120):
    for _ in range(seconds * 200):
        if metrics.is_file() and text in metrics.read_text():
            return
        time.sleep(0.005)
    raise AssertionError(f"{text!r} was not reached")


def wait_for_epoch(metrics, epoch):
    wait_for(metrics, f"\n{epoch},")


@pytest.mark.parametrize(
    "signal_number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"]
)
def test_an_ended_run_goes_on_from_its_last_checkpoint(images, tmp_path, signal_number):
    run = tmp_path / "run" / "0"
    process = start(images, tmp_path, "--trainer.max_epochs", "1000")
    wait_for_epoch(run / "metrics.csv", 2)
    os.kill(process.pid, signal_number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    last = run / "checkpoints" / "last.ckpt"
    epoch = torch.load(last, weights_only=True)["epoch"]
    assert epoch >= 1
    resume = ["--ckpt_path", str(last), "--trainer.max_epochs", str(epoch + 3)]
    output, _ = start(images, tmp_path, *resume).communicate(timeout=120)
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    epochs = [int(row["epoch"]) for row in rows if row["val/loss"]]
    assert epochs == list(range(epoch + 3)), output
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.slow
def test_a_run_killed_before_its_first_epoch_ends_can_be_resumed(images, tmp_path):
    process = start(images, tmp_path, "--trainer.max_epochs", "1000")
    last = tmp_path / "run" / "0" / "checkpoints" / "last.ckpt"
    while not last.is_file() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    resume = ["--ckpt_path", str(last), "--trainer.max_epochs", "1"]
    output, _ = start(images, tmp_path, *resume).communicate(timeout=120)
    assert "best val/accuracy" in output


@pytest.mark.slow
def test_a_run_killed_within_an_epoch_ends_as_one_that_was_not(images, tmp_path):
    options = ["--trainer.max_epochs", "3", "--trainer.log_every_n_steps", "1"]
    options += ["--save_every_n_steps", "1", "--data.augmentation", "crop"]
    straight, killed = (tmp_path / name / "run" / "0" for name in ("straight", "killed"))
    start(images, tmp_path / "straight", *options).communicate(timeout=120)
    process = start(images, tmp_path / "killed", *options)
    wait_for(killed / "metrics.csv", "\n1,6,")  # Of 5 steps in an epoch, the second of the second.
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    last = killed / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] % 5 != 0
    start(images, tmp_path / "killed", *options, "--ckpt_path", str(last)).communicate(timeout=120)
    assert (killed / "metrics.csv").read_text() == (straight / "metrics.csv").read_text()
    assert_same_weights(last, straight / "checkpoints" / "last.ckpt")


def assert_same_weights(path, other):
    weights, others = (torch.load(p, weights_only=True)["state_dict"] for p in (path, other))
    assert all(torch.equal(weights[name], others[name]) for name in others)


def test_an_interrupted_run_says_how_to_resume(images, tmp_path):
    process = start(images, tmp_path, "--trainer.max_epochs", "1000")
    wait_for_epoch(tmp_path / "run" / "0" / "metrics.csv", 1)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == UNFINISHED
    run_dir = tmp_path / "run" / "0"
    assert f"To resume: tltool fit --config {run_dir}/config.yaml --run_dir {run_dir}\n" in output
    assert "Traceback" not in output


def test_a_terminated_run_is_saved_and_says_in_code_and_file_that_it_is_unfinished(
    images, tmp_path
):
    process = start(images, tmp_path, "--trainer.max_epochs", "1000")
    wait_for_epoch(tmp_path / "run" / "0" / "metrics.csv", 1)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == UNFINISHED  # Not 0: `fit && predict` must not go on.
    status = read_status(tmp_path / "run" / "0")
    assert (status.state, status.why) == ("unfinished", "SIGTERM")
    last = torch.load(tmp_path / "run" / "0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert status.step == last["global_step"]
    assert "To resume: tltool fit --config" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_signal_to_all_processes_of_a_job_takes_no_training_along(images, tmp_path):
    options = ["--data.num_workers", "1", "--wandb.project", "x", "--wandb.offline", "true"]
    process = start(images, tmp_path, "--trainer.max_epochs", "1000", *options)
    metrics = tmp_path / "run" / "0" / "metrics.csv"
    wait_for_epoch(metrics, 1)
    ps = ["ps", "-o", "pid=", "--ppid", str(process.pid)]
    children = subprocess.run(ps, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["kill", "-s", "TERM", *children], check=False)  # ps itself is gone
    last = metrics.read_text().splitlines()[-1].partition(",")[0]
    wait_for_epoch(metrics, int(last) + 3)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == UNFINISHED, output
    assert "W&B's own process is gone" in output
    assert "Traceback" not in output


def test_a_reader_of_the_help_may_leave():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tltool", "fit", "--help"]
    found = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (found.returncode, found.stderr) == (141, b"")
