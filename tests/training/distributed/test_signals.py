"""Signals stop a run where it is saved, on all ranks, whatever gets them and when."""

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lightning.pytorch import Callback

from tltool.training.distributed.run_status import UNFINISHED, RunStatus, read_status
from tltool.training.distributed.signals import SIGNALS, SignalStopped

JOB = Path(__file__).with_name("signal_job.py")
job = runpy.run_path(str(JOB))

pytestmark = pytest.mark.filterwarnings(
    "ignore:Checkpoint directory .* is not empty",
    "ignore:.*callbacks used to create the checkpoint need to be provided",
    "ignore:.*does not have many workers",
)


@pytest.fixture(autouse=True)
def interrupts():
    """Handle Ctrl-C, which a shell ignores for jobs of ``&``."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def straight(images, tmp_path_factory):
    """What becomes of the weights without a signal."""
    folder = tmp_path_factory.mktemp("straight")
    return job["stop_and_resume"](images, folder, 0, None, None, ())["sum"]


PAIRS = [("SIGTERM", moment) for moment in job["MOMENTS"]]
PAIRS += [(name, "training") for name in ("SIGUSR1", "SIGUSR2", "SIGINT")]
PAIRS += [("SIGUSR2", "validation"), ("SIGINT", "between epochs")]


@pytest.mark.parametrize(("name", "moment"), PAIRS)
def test_a_run_stops_with_all_that_it_trained_saved(images, tmp_path, straight, name, moment):
    number = signal.Signals[name]
    came = job["stop_and_resume"](images, tmp_path, 0, number, moment, (0,))
    assert came["stopped"] == name
    assert came["saved"] == came["trained"] < 12
    assert came["sum"] == straight


def test_ctrl_c_again_stops_at_once(images, tmp_path):
    class Impatient(Callback):
        def on_train_batch_start(self, trainer, *args):
            if trainer.global_step == 2:
                os.kill(os.getpid(), signal.SIGINT)
                SIGNALS._interrupted_at -= 2  # As if two seconds had passed.
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as stop:
        job["train"](images, tmp_path, Impatient())
    assert isinstance(stop.value.__context__, KeyboardInterrupt)


class ToWorkers(Callback):
    """Send signals to the workers of the data loaders in the middle of training."""

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step == 2:
            self.workers = [child.pid for child in multiprocessing.active_children()]
            for name in ("USR1", "USR2", "INT", "TERM"):  # By another process: a parent may.
                subprocess.run(["kill", "-s", name, *map(str, self.workers)], check=True)


def test_signals_pass_by_the_workers_of_data_loaders(images, tmp_path, straight):
    hit = ToWorkers()
    task = job["train"](images, tmp_path, hit, workers=1)
    assert hit.workers
    assert float(sum(p.detach().double().abs().sum() for p in task.parameters())) == straight


def test_a_run_with_workers_stops_with_all_that_it_trained_saved(images, tmp_path, straight):
    number = signal.SIGTERM
    came = job["stop_and_resume"](images, tmp_path, 0, number, "training", (0,), workers=1)
    assert came["saved"] == came["trained"]
    assert came["sum"] == straight


def test_a_run_on_a_device_stops_with_all_that_it_trained_saved(images, tmp_path, accelerator):
    number, one = signal.SIGTERM, {"accelerator": accelerator, "devices": 1}
    came = job["stop_and_resume"](images, tmp_path, 0, number, "training", (0,), **one)
    assert came["saved"] == came["trained"] < 12


def test_a_fork_passes_signals_by():
    with SIGNALS.installed():
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1,))
        child.start()
        time.sleep(0.2)
        os.kill(child.pid, signal.SIGTERM)
        child.join(20)
    assert child.exitcode == 0
    assert SIGNALS.received is None


def test_a_signal_in_front_of_training_ends_a_process_at_once():
    with pytest.raises(SignalStopped) as stop, SIGNALS.installed():
        os.kill(os.getpid(), signal.SIGUSR2)
    assert (stop.value.code, stop.value.signal_name) == (UNFINISHED, "SIGUSR2")


LOSING = """
import os, signal, sys
from tltool.training.distributed.signals import SIGNALS
with SIGNALS.installed(), SIGNALS.importing():
    try:
        os.kill(os.getpid(), signal.Signals[sys.argv[1]])
    except BaseException:  # As C code does that asks for an attribute.
        sys.exit(3)
"""


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("SIGTERM", UNFINISHED, "stopped by SIGTERM"), ("SIGINT", 130, "interrupted")],
)
def test_a_signal_in_imports_ends_a_process_that_loses_exceptions(name, code, words):
    command = [sys.executable, "-c", LOSING, name]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, words in ended.stderr) == (code, True)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_whose_exception_was_lost_stops_at_the_next_check(name):
    with SIGNALS.installed():
        with contextlib.suppress(SignalStopped, KeyboardInterrupt):
            os.kill(os.getpid(), signal.Signals[name])
        with pytest.raises(SignalStopped):
            SIGNALS.check()


def test_a_signal_that_came_while_a_run_ended_stops_in_front_of_the_next_one():
    with SIGNALS.installed():
        SIGNALS.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SignalStopped):
            SIGNALS.end_at_once()
    with SIGNALS.installed():
        SIGNALS.defer()
        SIGNALS.end_at_once()
        with pytest.raises(SignalStopped):
            os.kill(os.getpid(), signal.SIGTERM)


def test_an_exception_that_was_lost_is_raised_again(monkeypatch):
    monkeypatch.setitem(type(SIGNALS)._handle.__globals__, "_SECONDS_TO_AGREE", 0.05)
    with SIGNALS.installed():
        with contextlib.suppress(SignalStopped):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SignalStopped):
            time.sleep(10)


def test_with_other_ranks_it_waits_for_their_agreement(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with SIGNALS.installed():
        os.kill(os.getpid(), signal.SIGTERM)
    assert SIGNALS.received == signal.SIGTERM


def test_it_does_not_wait_for_them_for_ever(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(type(SIGNALS)._handle.__globals__, "_SECONDS_TO_AGREE", 0.05)
    with SIGNALS.installed():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SignalStopped):
            time.sleep(10)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_rank_that_lightning_has_started_waits_for_the_first_one(monkeypatch, name):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setitem(type(SIGNALS)._handle.__globals__, "_SECONDS_TO_AGREE", 0.05)
    with SIGNALS.installed():
        os.kill(os.getpid(), signal.Signals[name])
        time.sleep(0.3)
        SIGNALS._parent = -1  # It is gone.
        with pytest.raises(SignalStopped):
            time.sleep(10)


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with SIGNALS.installed():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with SIGNALS.installed():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def two_ranks(images, run_two_ranks, tmp_path_factory):
    """What came of each scenario on both ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    run_two_ranks(JOB, str(images), str(folder), *job["scenarios"]())
    found = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    return {name: [of_rank[name] for of_rank in found] for name in found[0]}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(job["scenarios"]())[1:])
def test_ranks_stop_together_with_all_that_they_trained_saved(two_ranks, name):
    first, second = two_ranks[name]
    assert first["stopped"] == second["stopped"] == name.partition(" ")[0]
    assert first["saved"] == first["trained"] == second["trained"] < 12
    assert first["sum"] == second["sum"] == two_ranks["straight"][0]["sum"]
    assert max(first["seconds"], second["seconds"]) < 60


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_to_torchrun_stops_its_ranks_with_a_save(images, tmp_path, name):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    launcher = subprocess.Popen([*command, str(JOB), str(images), str(tmp_path), "endless"])
    last = tmp_path / "checkpoints" / "last.ckpt"
    wait_until(lambda: (read_status(tmp_path) or RunStatus("running")).step >= 8)
    launcher.send_signal(signal.Signals[name])
    assert launcher.wait(60) != 0
    wait_until(lambda: read_status(tmp_path).state == "unfinished")
    assert job["torch"].load(last, weights_only=True)["global_step"] == read_status(tmp_path).step


def wait_until(is_true, seconds=120):
    for _ in range(seconds * 20):
        if is_true():
            return
        time.sleep(0.05)
    raise AssertionError(f"not in {seconds} s")
