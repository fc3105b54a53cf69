"""A lock on a directory, shared by its users, against those who would delete it."""

import os
import shutil
import stat
import subprocess
import sys

import pytest
from torch.utils.data import DataLoader

from tltool.features import directory_lock
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
# Locks as on a network file system whose server has none.
NO_LOCKS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#define FCNTL(name) \\
int name(int file, int command, ...) { \\
    va_list more; va_start(more, command); void *value = va_arg(more, void *); va_end(more); \\
    int (*real)(int, int, ...) = dlsym(RTLD_NEXT, #name); \\
    if (command == F_SETLK || command == F_SETLKW) { errno = ENOLCK; return -1; } \\
    return real(file, command, value); \\
}
FCNTL(fcntl)
FCNTL(fcntl64)
"""
LOCK = """
import sys
from pathlib import Path
from tltool.features.directory_lock import lock_directory
lock_directory(Path(sys.argv[1]), alone=sys.argv[2] == "alone").close()
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


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler, to take the locks away")
@pytest.mark.skipif(sys.platform != "linux", reason="takes the locks away as Linux can")
@pytest.mark.parametrize("how", ["shared", "alone"])
def test_locks_that_the_file_system_does_not_have_are_not_waited_for(directory, tmp_path, how):
    library = tmp_path / "no_locks.so"
    compile_it = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library, "-ldl"]
    subprocess.run(compile_it, input=NO_LOCKS, text=True, check=True)
    environment = os.environ | {"LD_PRELOAD": str(library)}
    command = [sys.executable, "-c", LOCK, directory, how]
    subprocess.run(command, env=environment, check=True, timeout=30)


def test_a_user_does_not_wait_for_ever(directory, monkeypatch):
    monkeypatch.setattr(directory_lock, "_PATIENCE", 0.1)
    with lock_directory(directory, alone=True):
        lock_directory(directory).close()
