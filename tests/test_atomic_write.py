"""A file is there whole or not at all."""

import errno
import os
import signal
import stat
import subprocess
import sys

import pytest

from tltool._atomic_write import PARTIAL, whole_file, write_whole

# A process that writes half a file, says so, and waits.
HALF = """
import sys, time
from pathlib import Path
from tltool._atomic_write import whole_file
with whole_file(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def half_written(tmp_path):
    """A process that has written half of a file and is still at it."""
    command = [sys.executable, "-c", HALF, str(tmp_path / "page.html")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        yield process
        process.kill()


def partials(directory):
    return list(directory.glob(f".*{PARTIAL}"))


def test_a_crash_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "page.html"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new" + "\ud800")  # half a character
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_by_the_next_writer(tmp_path, half_written):
    half_written.send_signal(signal.SIGKILL)
    half_written.wait()
    assert len(partials(tmp_path)) == 1
    write_whole(tmp_path / "other.html", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["other.html"]


def test_what_a_living_process_writes_is_left(tmp_path, half_written):
    write_whole(tmp_path / "other.html", "new")
    assert [path.read_text() for path in partials(tmp_path)] == ["half"]


def test_what_another_machine_writes_is_left_for_an_hour(tmp_path):
    partial = tmp_path / f".page.html.0badcafe-1-0123456789ab{PARTIAL}"
    partial.write_text("half")
    write_whole(tmp_path / "other.html", "new")
    assert partial.exists()
    os.utime(partial, (0, 0))
    write_whole(tmp_path / "other.html", "new")
    assert not partial.exists()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder '.*lost'. Create it first"):
        write_whole(tmp_path / "lost" / "page.html", "new")


def test_the_content_reaches_the_disk_before_the_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "weights", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(path.exists()))
    with whole_file(path, sync=True) as partial:
        partial.write_text("numbers")
    assert synced == [False, True]


def test_a_directory_that_cannot_be_synced_is_left_as_it_is(tmp_path, monkeypatch):
    path = tmp_path / "weights"

    def fsync(descriptor):  # As some network file systems do.
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, "1 2 3", sync=True)
    assert path.read_text() == "1 2 3"
