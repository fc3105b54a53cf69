import os

import pytest

from tltool.features import seen
from tltool.features.file_hashes import SeenFiles, look_at

DIGEST = bytes(range(16))


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.setattr(seen, "SETTLED_AFTER", 0.0)
    path = tmp_path / "pho\tto\n.jpg"
    path.write_bytes(b"a photo")
    return str(path)


def remember(root, photo, digest=DIGEST):
    table = SeenFiles(root, [photo])
    table.add(photo, look_at(photo), digest)
    return table


def test_a_file_is_found_by_any_process(tmp_path, photo):
    remember(tmp_path, photo).save()
    assert SeenFiles(tmp_path, [photo]).find(photo) == DIGEST


def test_a_file_that_looks_different_is_not_found(tmp_path, photo):
    remember(tmp_path, photo).save()
    before = os.stat(photo)
    with open(photo, "wb") as file:
        file.write(b"A photo")
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert SeenFiles(tmp_path, [photo]).find(photo) is None


def test_a_file_that_is_gone_is_not_found(tmp_path, photo):
    table = remember(tmp_path, photo)
    os.unlink(photo)
    assert table.find(photo) is None


def test_a_file_that_changed_just_now_is_not_trusted(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(seen, "SETTLED_AFTER", 60.0)
    assert remember(tmp_path, photo).find(photo) is None


def test_two_that_write_at_once_lose_nothing(tmp_path, photo):
    other = f"{photo}.png"
    os.link(photo, other)
    first, second = remember(tmp_path, photo), remember(tmp_path, other)
    first.save()
    second.save()
    both = SeenFiles(tmp_path, [photo, other])
    assert (both.find(photo), both.find(other)) == (DIGEST, DIGEST)
    assert len(list(both.folder.iterdir())) == 1


def test_a_damaged_table_is_left_out(tmp_path, photo):
    table = remember(tmp_path, photo)
    table.save()
    (path,) = table.folder.iterdir()
    path.write_text("nonsense")
    assert SeenFiles(tmp_path, [photo]).find(photo) is None
