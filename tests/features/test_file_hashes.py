import os

import pytest

from tltool.features import file_hashes
from tltool.features.file_hashes import FileHashes, file_status

DIGEST = bytes(range(16))


@pytest.fixture
def image(tmp_path, monkeypatch):
    monkeypatch.setattr(file_hashes, "SETTLED_AFTER", 0.0)
    path = tmp_path / "ima\tge\n.jpg"
    path.write_bytes(b"an image")
    return str(path)


def remember(root, image, digest=DIGEST):
    table = FileHashes(root, [image])
    table.add(image, file_status(image), digest)
    return table


def test_a_file_is_found_by_any_process(tmp_path, image):
    remember(tmp_path, image).save()
    assert FileHashes(tmp_path, [image]).find(image) == DIGEST


def test_a_file_that_looks_different_is_not_found(tmp_path, image):
    remember(tmp_path, image).save()
    before = os.stat(image)
    with open(image, "wb") as file:
        file.write(b"An image")
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert FileHashes(tmp_path, [image]).find(image) is None


def test_a_file_that_is_gone_is_not_found(tmp_path, image):
    table = remember(tmp_path, image)
    os.unlink(image)
    assert table.find(image) is None


def test_a_file_that_changed_just_now_is_not_trusted(tmp_path, image, monkeypatch):
    monkeypatch.setattr(file_hashes, "SETTLED_AFTER", 60.0)
    assert remember(tmp_path, image).find(image) is None


def test_two_that_write_at_once_lose_nothing(tmp_path, image):
    other = f"{image}.png"
    os.link(image, other)
    first, second = remember(tmp_path, image), remember(tmp_path, other)
    first.save()
    second.save()
    both = FileHashes(tmp_path, [image, other])
    assert (both.find(image), both.find(other)) == (DIGEST, DIGEST)
    assert len(list(both.directory.iterdir())) == 1


@pytest.mark.parametrize(
    ("digest", "file"),
    [("zz" * 16, '"{}"'), ("ab", '"{}"'), ("00" * 16, '["{}"]')],
)
def test_a_damaged_line_is_left_out_and_the_others_are_read(tmp_path, image, digest, file):
    other = f"{os.path.dirname(image)}/other.jpg"
    os.link(image, other)
    table = remember(tmp_path, image)
    table.save()
    (path,) = table.directory.iterdir()
    status = " ".join(map(str, file_status(other)))
    path.write_text(f"{status}\t{digest}\t{file.format(other)}\n{path.read_text()}")
    read = FileHashes(tmp_path, [image])
    assert (read.find(image), read.find(other)) == (DIGEST, None)


def test_a_damaged_table_is_left_out(tmp_path, image):
    table = remember(tmp_path, image)
    table.save()
    (path,) = table.directory.iterdir()
    path.write_text("nonsense")
    assert FileHashes(tmp_path, [image]).find(image) is None
