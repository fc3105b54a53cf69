"""The first rank waits for those that Lightning starts where a signal can stop it."""

import os
import signal
import socket
import subprocess

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from tltool.training.distributed.rank_errors import RankFailedError
from tltool.training.distributed.signals import SIGNALS, SignalStopped
from tltool.training.distributed.started_ranks import meet_started_ranks_

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def fit(monkeypatch):
    """Return a function that trains with a line of the shell as second rank, which must end."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(sock.getsockname()[1])}
    launchers, started = [], []

    def start(line):
        options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", **options)
        launcher = trainer.strategy.launcher

        def call_children():
            for name, value in {**place, "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
                monkeypatch.setenv(name, value)
            launcher.procs = [subprocess.Popen(["sh", "-c", line])]
            launchers.append(launcher)
            started.extend(launcher.procs)

        monkeypatch.setattr(launcher, "_call_children_scripts", call_children)
        meet_started_ranks_(trainer)
        with SIGNALS.installed():
            trainer.fit(BoringModel())

    yield start
    assert [launcher.procs for launcher in launchers] == [[]]  # Or Lightning kills this process.
    assert [child.returncode for child in started] != [None]


@pytest.mark.parametrize("name", ["TERM", "USR1"])
def test_a_signal_stops_it_at_once_and_the_others_with_it(fit, name):
    with pytest.raises(SignalStopped, match=f"SIG{name}"):
        fit(f"sleep 0.5; kill -s {name} $PPID; exec sleep 100")


def test_a_rank_that_a_signal_has_killed_stops_the_run_as_unfinished(fit):
    with pytest.raises(SignalStopped, match="SIGTERM"):
        fit("kill -TERM $$")


def test_a_rank_that_fails_before_it_comes_is_named(fit):
    with pytest.raises(RankFailedError, match="rank 1 has failed: exit status 3"):
        fit("exit 3")


def test_ctrl_c_ends_all(fit):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as stop:
            fit("sleep 0.5; kill -s INT $PPID; exec sleep 100")
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(stop.value.__context__, KeyboardInterrupt)


def test_ranks_of_a_launcher_meet_elsewhere(monkeypatch):
    job = {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    for name, value in {**job, "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}.items():
        monkeypatch.setitem(os.environ, name, value)
    trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False)
    before = trainer.strategy.launcher.launch
    meet_started_ranks_(trainer)
    assert trainer.strategy.launcher.launch == before
