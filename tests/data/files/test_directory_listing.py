"""Listing of folders: nothing that cannot be listed is left out in silence."""

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
