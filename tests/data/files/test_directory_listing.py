"""Listing of folders: nothing is left out in silence, and nothing is listed that never ends."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from tests.conftest import write_images
from tltool.data.files.directory_listing import list_folders, list_images


@pytest.fixture
def locked():
    """A folder in a folder of images that this process may not list."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:  # That others may enter, unlike `tmp_path`.
        root = write_images(Path(folder), per_class=1)
        root.chmod(0o755)
        (root / "red").chmod(0)
        if is_root:
            os.seteuid(65534)  # Root may read everything.
        yield root / "red"
        if is_root:
            os.seteuid(0)
        (root / "red").chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_subfolder_that_may_not_be_listed_is_an_error(locked):
    with pytest.raises(OSError, match=r"'.*red': Permission denied.* make it readable"):
        list_images(locked.parent)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_folder_of_folders_that_may_not_be_listed_is_an_error(locked):
    with pytest.raises(OSError, match=r"'.*red': Permission denied.* make it readable"):
        list_folders(locked)


def test_a_folder_that_a_network_has_lost_is_an_error(tmp_path, monkeypatch):
    write_images(tmp_path, per_class=1)
    scan = os.scandir

    def scandir(path):
        if Path(path).name == "red":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(OSError, match=r"'.*red': Stale file handle.* mount its file system"):
        list_images(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_pipe_with_the_name_of_an_image_is_left_out_with_a_warning(tmp_path, caplog):
    write_images(tmp_path, classes=("red",), per_class=1)
    os.mkfifo(tmp_path / "red" / "cam.jpg")
    assert list_images(tmp_path) == [tmp_path / "red" / "00.png"]
    assert "Left out 1 pipes, sockets or devices" in caplog.text
    assert "cam.jpg" in caplog.text


def test_links_to_files_are_listed_and_broken_ones_too(tmp_path):
    write_images(tmp_path, classes=("red",), per_class=1)
    (tmp_path / "link.png").symlink_to(tmp_path / "red" / "00.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "no.png")
    names = ["link.png", "lost.png", "00.png"]  # Reading says that there is nothing behind it.
    assert [path.name for path in list_images(tmp_path)] == names
