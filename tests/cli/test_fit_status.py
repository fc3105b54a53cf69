"""What `tltool fit` says in status.json, and of options for a run on a cluster."""

import contextlib
import os
import signal

import pytest

from tltool.training.distributed.run_status import UNFINISHED, read_status
from tltool.training.distributed.signals import SignalStopped

SMALL = ["--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"]
SMALL += ["--model.backbone.img_size", "32", "--data.num_workers", "0", "--data.batch_size", "4"]
RUN = ["--name", "run", "--trainer.max_epochs", "1", *SMALL]


def test_a_run_that_is_over_is_finished(run_tltool, images, tmp_path):
    assert run_tltool("fit", "--data.root", images, *RUN)[0] == 0
    status = read_status(tmp_path / "runs" / "run" / "0")
    assert (status.state, status.epoch, status.starts) == ("finished", 0, 0)
    assert status.step > 0


def test_a_run_with_an_error_has_failed_and_says_of_what(run_tltool, images, tmp_path):
    wrong = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "none"]
    assert run_tltool("fit", "--data.root", images, *RUN, *wrong)[0] == 1
    status = read_status(tmp_path / "runs" / "run" / "0")
    assert status.state == "failed"
    assert status.why.startswith("ValueError: EarlyStopping monitors 'none'")


def test_a_signal_that_a_library_loses_in_front_of_training_stops_the_run(
    run_tltool, images, tmp_path, monkeypatch
):
    def lose(*args):
        with contextlib.suppress(SignalStopped):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("tltool.cli.fit.print_probe", lose)
    monkeypatch.setattr("tltool.cli.fit.Trainer.fit", None)
    assert run_tltool("fit", "--data.root", images, *RUN)[0] == UNFINISHED
    status = read_status(tmp_path / "runs" / "run" / "0")
    assert (status.state, status.step, status.why) == ("unfinished", 0, "SIGTERM")


@pytest.mark.parametrize("option", ["--save_every", "--grace_period"])
def test_what_is_no_duration_is_refused_in_one_line(run_tltool, images, option):
    status, _, errors = run_tltool("fit", "--data.root", images, *RUN, option, "often")
    assert status == 1
    assert "error: 'often' is no duration. Write 10m, 90s or 1h30m." in errors
