"""The cache on file systems that are read-only, full, or lose files: training goes on without."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from tests.conftest import write_images
from tltool.features import store
from tltool.features.cache import cached_features

STALE = OSError(errno.ESTALE, os.strerror(errno.ESTALE))


@pytest.fixture
def compute(images, tmp_path, make_backbone, make_images):
    """Return a function that returns the features of a folder from a cache."""
    backbone = make_backbone()

    def run(folder=images, cache=tmp_path / "cache"):
        return cached_features(backbone, make_images(folder, backbone), cache=cache)

    return run


@pytest.fixture
def warnings(caplog):
    """Return a function that returns the warnings so far."""
    return lambda: [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


def test_a_segment_that_cannot_be_read_is_computed_again(compute, warnings, monkeypatch):
    compute()

    def read_segment(path, **options):
        raise STALE

    with monkeypatch.context() as patched:
        patched.setattr(store, "read_segment", read_segment)
        found = compute()
    assert (found.num_computed, found.tensor().shape) == (24, (24, 96))
    assert "cannot be read: Stale file handle. Its features" in warnings()[0]


def test_a_directory_that_cannot_be_listed_is_not_needed(compute, warnings, monkeypatch, tmp_path):
    compute()
    scan = os.scandir

    def scandir(path="."):
        if Path(path).is_relative_to(tmp_path / "cache"):
            raise STALE
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = compute()
    assert (found.num_computed, found.tensor().shape) == (24, (24, 96))
    assert "cannot be read: Stale file handle" in warnings()[0]
    assert "They stay in memory" in warnings()[1]


def test_space_that_cannot_be_asked_for_is_taken(compute, warnings, monkeypatch):
    def disk_usage(path):
        raise STALE

    monkeypatch.setattr(store.shutil, "disk_usage", disk_usage)
    compute()
    assert compute().num_computed == 0
    assert warnings() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_does_not_reach_the_disk_leaves_no_file(
    compute, warnings, monkeypatch, tmp_path, number
):
    def fsync(descriptor):  # Network file systems say it here.
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    assert compute().tensor().shape == (24, 96)
    assert f"{os.strerror(number)}. They stay in memory" in warnings()[0]
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.suffix in (".partial", ".json")]


@pytest.fixture
def read_only(compute):
    """A folder of images, and a cache of half of them that this process may not write to."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:  # That others may enter, unlike `tmp_path`.
        place = Path(folder)
        write_images(place / "images" / "half", per_class=2)
        compute(place / "images", place / "cache")
        write_images(place / "images" / "more", classes=("green",), per_class=4)
        for path in (place, *place.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        if is_root:
            os.seteuid(65534)  # Root may write everywhere.
        yield place
        if is_root:
            os.seteuid(0)
        for path in (place, *place.rglob("*")):
            path.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_cache_that_may_only_be_read_is_used(compute, read_only, warnings):
    assert compute(read_only / "images" / "half", read_only / "cache").num_computed == 0
    assert warnings() == []


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_what_a_read_only_cache_lacks_stays_in_memory(compute, read_only, warnings):
    found = compute(read_only / "images", read_only / "cache")
    assert (found.num_computed, found.tensor().shape) == (4, (8, 96))
    (warning,) = warnings()
    assert "Permission denied. They stay in memory" in warning
    assert "name another directory in TLTOOL_CACHE" in warning
