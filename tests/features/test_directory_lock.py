"""A lock on a directory, shared by its users, against those who would delete it."""

import stat
import subprocess
import sys

import pytest
from torch.utils.data import DataLoader

from tltool.features.directory_lock import InUseError, lock_directory

# A process that holds the lock, says so, and waits.
HOLD = """
import sys, time
from pathlib import Path
from tltool.features.directory_lock import lock_directory
held = lock_directory(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "features").mkdir()
    return tmp_path / "features"


@pytest.fixture
def holder(directory):
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_users_share_a_lock_that_nobody_gets_alone(directory, holder):
    with lock_directory(directory), pytest.raises(InUseError, match="is in use by another process"):
        lock_directory(directory, alone=True)


def test_a_killed_process_holds_it_no_more(directory, holder):
    holder.kill()
    holder.wait()
    with lock_directory(directory, alone=True):
        directory.rmdir()


def test_a_worker_that_ends_does_not_give_it_back(directory):
    with lock_directory(directory):
        assert list(DataLoader([1, 2], num_workers=1, batch_size=None)) == [1, 2]
        with pytest.raises(InUseError):
            lock_directory(directory, alone=True)


def test_users_who_may_only_read_can_hold_it(directory):
    lock_directory(directory).close()
    (file,) = directory.parent.glob(".*.lock")
    assert stat.S_IMODE(file.stat().st_mode) == 0o666


def test_a_place_that_takes_no_lock_is_used_without_one(tmp_path):
    (tmp_path / "file").touch()
    lock_directory(tmp_path / "file" / "features", alone=True).close()
