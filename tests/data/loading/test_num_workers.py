"""Workers that would run a script anew are refused before any is started."""

import multiprocessing
import os
import sys
from types import SimpleNamespace

import pytest

from tltool.data.loading.num_workers import own_cores, resolve_num_workers


@pytest.fixture
def started_by(monkeypatch, tmp_path):
    """Make the running program a script of some text, on a machine of some start method."""

    def pretend(method, text):
        script = tmp_path / "train.py"
        script.write_text(text)
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__=str(script)))
        monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: method)

    return pretend


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("text", ["train()\n", "log = logging.getLogger(__name__)\ntrain()\n"])
def test_a_script_without_a_main_guard_is_refused(started_by, method, text):
    started_by(method, text)
    with pytest.raises(RuntimeError, match=r'would run .*train\.py anew.*__name__ == "__main__"'):
        resolve_num_workers(2, 1)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("spawn", 'if __name__ == "__main__":\n    train()\n'),
        ("spawn", "if '__main__' == __name__:\n    train()\n"),
        ("fork", "train()\n"),
    ],
)
def test_where_nothing_runs_twice_workers_are_started(started_by, method, text):
    started_by(method, text)
    assert resolve_num_workers(2, 1) == 2


def test_without_workers_no_script_needs_a_guard(started_by):
    started_by("spawn", "train()\n")
    assert resolve_num_workers(0, 1) == 0


def test_a_console_has_no_script_to_run_anew(started_by, monkeypatch):
    started_by("spawn", "")
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace())
    assert resolve_num_workers(2, 1) == 2


@pytest.mark.parametrize(
    ("cores", "slurm", "share"),
    [
        (64, {}, 8),  # One machine, or torchrun: all share them.
        (8, {"CPUS_ON_NODE": "64"}, 8),  # Each task is bound to its own.
        (8, {"CPUS_PER_TASK": "8"}, 8),
        (64, {"CPUS_ON_NODE": "64"}, 8),  # Tasks are not bound.
        (64, {"CPUS_ON_NODE": "16"}, 2),  # Nor is the job, which has a part of the machine.
        (4, {}, 1),
    ],
)
def test_cores_are_shared_unless_slurm_has_bound_each_task(monkeypatch, cores, slurm, share):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(cores), raising=False)
    environment = {f"SLURM_{name}": value for name, value in slurm.items()}
    assert own_cores(8, environment | ({"SLURM_STEP_ID": "0"} if slurm else {})) == share


def test_a_task_that_is_bound_to_eight_cores_has_seven_workers(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "64")
    assert resolve_num_workers(None, 8) == 7
