"""A file is there whole or not at all."""

import os

import pytest

from tltool.whole_file import whole_file, write_rows, write_whole


def test_a_crash_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "page.html"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new" + "\ud800")  # half a character
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder '.*lost'. Create it first"):
        write_whole(tmp_path / "lost" / "page.html", "new")


def test_what_a_row_lacks_is_empty(tmp_path):
    write_rows(tmp_path / "rows.csv", ["step", "loss"], [{"step": 1}])
    assert (tmp_path / "rows.csv").read_text() == "step,loss\n1,\n"


def test_the_content_reaches_the_disk_before_the_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "weights", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(path.exists()))
    with whole_file(path, sync=True) as partial:
        partial.write_text("numbers")
    assert synced == [False, True]
