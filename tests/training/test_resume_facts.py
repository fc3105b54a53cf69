"""Facts of a run that a checkpoint keeps, compared on resume."""

import shutil
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import write_images
from tltool.data.files.directory_listing import list_images
from tltool.data.loading.samples import Samples, Splits
from tltool.inference.tested_images import num_trained_on
from tltool.training.resume_facts import (
    RunFacts,
    image_differences,
    image_hashes,
    image_marks,
    image_names,
    new_images,
)


def facts(commit="abc", **images):
    return RunFacts({name: torch.tensor(ids) for name, ids in images.items()}, {}, commit)


def test_another_commit_is_told(caplog):
    facts("def").warn_of_differences(facts("abc").state_dict())
    assert "commit was 'abc' and is 'def': the code may have changed" in caplog.text


def test_no_commit_is_no_other_commit(caplog):
    facts("def").warn_of_differences(facts(None).state_dict())
    assert not caplog.text


def test_an_image_that_was_trained_on_and_now_validates_is_told(caplog):
    before = facts(train=[1, 2, 3], val=[4]).state_dict()
    facts(train=[1, 2], val=[3, 4]).warn_of_differences(before)
    assert "2 val (1 added, 1 of them trained on before)" in caplog.text


def test_an_older_checkpoint_without_facts_is_no_difference(caplog):
    facts(train=[1]).warn_of_differences({})
    assert not caplog.text


def test_the_order_of_the_images_is_no_difference():
    one, other = (Splits(Samples(paths)) for paths in (["/x/1", "/x/2"], ["/x/2", "/x/1"]))
    assert image_differences(image_hashes(one), image_hashes(other)) == []


def test_a_name_that_is_no_text_has_a_hash():
    assert len(image_hashes(Splits(Samples(["/x/\udcff.png", "/y/1.png"])))["train"]) == 2


@pytest.fixture
def splits_of(tmp_path, monkeypatch):
    """Return a function that returns the images of a folder beside the working directory."""
    write_images(tmp_path / "images")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return lambda root: Splits(Samples([str(path) for path in list_images(Path(root))]))


def test_images_of_a_relative_folder_are_those_of_its_absolute_path(splits_of, tmp_path):
    relative, absolute = splits_of("../images"), splits_of(tmp_path / "images")
    assert image_differences(image_hashes(relative), image_hashes(absolute)) == []


def test_images_are_the_same_from_another_working_directory(splits_of, tmp_path, monkeypatch):
    before = image_hashes(splits_of("../images"))
    monkeypatch.chdir(tmp_path)
    assert image_differences(before, image_hashes(splits_of("images"))) == []


def absolute(*names):
    return Samples([f"/{name}.jpg" for name in names])


WHOLE = Splits(absolute("t/train/a/1", "t/train/b/1"), absolute("t/val/a/1", "t/val/b/1"))


def test_trained_on_images_are_counted_where_only_their_folder_is_measured():
    checkpoint = {"run_facts": {"images": image_hashes(WHOLE)}}
    moved = Splits(absolute("new/t/train/b/2"), absolute("new/t/train/a/1", "new/t/train/b/1"))
    assert num_trained_on(moved, "val", checkpoint) == 2


def test_other_images_of_the_same_classes_are_not_those_that_were_trained_on():
    checkpoint = {"run_facts": {"images": image_hashes(WHOLE)}}
    val = Splits(absolute("t/val/b/1"), absolute("t/val/a/1"))
    other = Splits(absolute("other/b/1"), absolute("other/a/1"))
    assert [num_trained_on(each, "val", checkpoint) for each in (val, other)] == [0, 0]


def test_new_images_are_named_from_their_own_folder():
    other = Splits(absolute("other/b/1"), absolute("other/a/1"))
    assert new_images(image_hashes(WHOLE), other) == ["/b/1.jpg", "/a/1.jpg"]


def test_names_in_memory_are_no_paths():
    splits = Splits(Samples(["digits/all/000000", "digits/all/000001"]))
    assert image_names(splits) == {"train": ["digits/all/000000", "digits/all/000001"]}


def test_relative_paths_that_an_older_checkpoint_took_as_they_are_are_known_again(splits_of):
    splits = splits_of("../images")
    digests = [blake2b(path.encode(), digest_size=8).digest() for path in splits.train.paths]
    before = {"train": torch.tensor([int.from_bytes(d, "big", signed=True) for d in digests])}
    assert image_differences(before, image_hashes(splits, before)) == []
    assert new_images(before, splits) == []


@pytest.mark.parametrize("length", [200, 3000])
def test_scans_of_one_size_with_a_dark_border_have_marks_of_their_own(tmp_path, length):
    paths = [str(tmp_path / name) for name in ("a.bmp", "b.bmp")]
    for brightness, path in enumerate(paths, start=1):
        pixels = np.zeros((length, length), np.uint8)
        pixels[length // 4 : length // 2, length // 4 : length // 2] = brightness
        Image.fromarray(pixels).save(path)
    assert len(set(image_marks(Samples(paths)).tolist())) == 2


def test_an_image_has_its_mark_under_another_name(splits_of, tmp_path):
    before = image_marks(splits_of("../images").train).tolist()
    shutil.move(tmp_path / "images", tmp_path / "work" / "moved")
    moved = splits_of("moved").train
    assert image_marks(moved).tolist() == before
