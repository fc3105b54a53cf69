"""Run directories: numbers, and what a killed run has left in them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tltool.training.newest_checkpoint import newest_checkpoint
from tltool.training.run_directory import create_run_dir, open_run_dir
from tltool.training.run_lock import locked_run_dir


def test_each_run_gets_the_next_number(tmp_path):
    run_dirs = [create_run_dir(tmp_path, "images") for _ in range(3)]
    names = [path.relative_to(tmp_path).as_posix() for path in run_dirs]
    assert names == ["images/0", "images/1", "images/2"]


def test_runs_that_start_at_once_get_different_directories(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        run_dirs = list(pool.map(lambda _: create_run_dir(tmp_path, "images"), range(32)))
    assert len(set(run_dirs)) == 32


# Stops in the middle of a checkpoint, which is pickled by and by.
KILLED = """
import sys, time
from tltool.training.checkpoint_io import AtomicCheckpointIO
from tltool.training.run_directory import create_run_dir

class Slow:
    def __reduce__(self):
        print("writing", flush=True)
        time.sleep(60)

path = create_run_dir(sys.argv[1], "images") / "checkpoints" / "last.ckpt"
AtomicCheckpointIO().save_checkpoint({"state": Slow()}, path)
"""


@pytest.mark.slow
def test_a_new_run_removes_what_a_killed_one_left_half_written(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.rglob(".last.ckpt.*.partial"))) == 1
    create_run_dir(tmp_path, "images")
    assert not list(tmp_path.rglob("*.partial"))


def test_a_file_in_place_of_the_folder_is_an_error_with_the_remedy(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(PermissionError, match="Set --runs_dir to a directory that you may write"):
        create_run_dir(tmp_path / "runs", "images")


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="must be a plain directory name"):
        create_run_dir(tmp_path, name)


def test_a_named_directory_is_the_same_at_each_start(tmp_path):
    partial = tmp_path / "mine" / "checkpoints" / ".last.ckpt.old-1-0123456789ab.partial"
    partial.parent.mkdir(parents=True)
    partial.touch()
    os.utime(partial, (0, 0))
    assert open_run_dir(tmp_path / "mine") == tmp_path / "mine"
    assert not partial.exists()


def test_a_file_in_place_of_a_named_directory_is_refused(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(ValueError, match="`run_dir` is a file"):
        open_run_dir(tmp_path / "mine")


def test_a_process_waits_for_the_end_of_another_in_its_directory(tmp_path, monkeypatch):
    holder = contextlib.ExitStack()
    holder.enter_context(locked_run_dir(tmp_path))
    waits = []
    monkeypatch.setattr(time, "sleep", lambda seconds: [waits.append(seconds), holder.close()])
    with locked_run_dir(tmp_path):
        assert len(waits) == 1


def test_what_ending_has_chosen_is_no_checkpoint_to_resume(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    batches = {"total": {"processed": 8}}
    state = {"task_config": {}, "global_step": 4}
    state["loops"] = {"fit_loop": {"epoch_loop.batch_progress": batches}}
    torch.save(state, tmp_path / "checkpoints" / "epoch_0.ckpt")
    torch.save({**state, "global_step": 9, "ending": {}}, tmp_path / "checkpoints" / "best.ckpt")
    torch.save({"weights": 1}, tmp_path / "checkpoints" / "other.ckpt")
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoints" / "epoch_0.ckpt"


def test_the_last_epoch_is_resumed_from_best_ckpt_where_the_run_kept_it(tmp_path):
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.parent.mkdir()
    state = {"task_config": {}, "global_step": 4, "ending": {"choose": "last"}}
    state["loops"] = {"fit_loop": {"epoch_loop.batch_progress": {"total": {"processed": 8}}}}
    torch.save(state, best)
    assert newest_checkpoint(tmp_path) == best


def test_shards_without_their_last_file_are_not_whole(tmp_path):
    (tmp_path / "checkpoints" / "last.ckpt").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"last.ckpt' lacks meta.pt"):
        newest_checkpoint(tmp_path)
