"""A datamodule of one's own, as the README of the room shows it."""

import re
from pathlib import Path

import pytest

import tltool.data
from tltool.data.datamodules.image_datamodule import ImageDataModule

README = Path(tltool.data.__file__).with_name("README.md")


@pytest.fixture
def own(images, data_config):
    for path in images({"ants": 10, "bees": 5}, suffix=".jpg").rglob("*.jpg"):
        path.rename(path.parent.parent / f"{path.parent.name}_{path.name}")
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names = {"__name__": "own"}
    exec(code, names)
    root = images({})
    return names["FlatFolder"](str(root), batch_size=4, num_workers=0, data_config=data_config)


def test_the_datamodule_of_the_readme_splits_and_loads(own):
    own.setup("fit")
    assert own.summary() == "images: 12 train, 3 val, 2 classes (ants 8, bees 4)"
    assert next(iter(own.train_dataloader()))["images"].shape == (4, 3, 32, 32)


def test_a_datamodule_shows_its_images_classes_size_and_batch(own):
    images = "12 train, 3 val, 2 classes (ants 8, bees 4)"
    assert repr(own) == f"FlatFolder({images}, 32 px, batch 4)"


def test_a_datamodule_without_images_says_why():
    shown = repr(tltool.ImageFolderDataModule("nowhere"))
    assert shown.startswith("ImageFolderDataModule('nowhere', no images: ")
    assert shown.endswith(", batch 32)")


@pytest.mark.parametrize("name", ["find_classes", "find_records"])
def test_what_a_datamodule_must_define_is_named(name):
    with pytest.raises(NotImplementedError, match=rf"must define `{name}\(\)`"):
        getattr(ImageDataModule(), name)()
