"""The shortcut audit finds what was planted, and is silent on clean data as often as it says."""

import numpy as np
import pytest
import torch
from PIL import Image

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.diagnostics.checks.shortcuts import find_shortcuts, shortcut_check


def photo(seed, size=64):
    """Draw a smooth image of its own."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)


def bordered(image):
    """Paint a dark line along the border."""
    inner = image.resize((image.width - 4, image.height - 4))
    whole = Image.new("RGB", image.size)
    whole.paste(inner, (2, 2))
    return whole


def with_maker(image):
    """Return EXIF data that name a camera."""
    exif = image.getexif()
    exif[271] = "Camera"
    return exif


PLANTED = {
    "compression": lambda image, path: image.save(path, quality=60),
    "image size": lambda image, path: image.resize((72, 64)).save(path, quality=90),
    "border pixels": lambda image, path: bordered(image).save(path, quality=90),
    "EXIF": lambda image, path: image.save(path, quality=90, exif=with_maker(image)),
}


def audit(folder, save):
    """Write 40 images of two classes, of which one is saved in another way, and audit them."""
    for seed in range(40):
        path = folder / "train" / "ab"[seed % 2] / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if seed % 2:
            save(photo(seed), path)
        else:
            photo(seed).save(path, quality=90)
    data = ImageFolderDataModule(folder, val_fraction=0.1)
    splits = data.splits.by_name().values()
    paths = [path for samples in splits for path in samples.paths]
    labels = [label for samples in splits for label in samples.labels]
    return shortcut_check(data, paths, labels, np.arange(len(paths)))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_shortcut_is_named(name, tmp_path):
    result = audit(tmp_path, PLANTED[name])
    assert result.status == "warning"
    assert name in result.found.split(" is right on ")[0]


def test_images_that_were_saved_alike_raise_nothing(tmp_path):
    result = audit(tmp_path, lambda image, path: image.save(path, quality=90))
    assert (result.status, result.found[:5]) == ("ok", "none:")


def test_the_probability_of_clean_data_is_uniform_where_it_matters():
    values = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        labels = torch.from_numpy(generator.integers(0, 2, 80))
        (found,) = find_shortcuts({"file size": generator.normal(size=(80, 1))}, labels, 2)
        values.append(found.p_value)
    assert sum(value <= 0.1 for value in values) <= 12  # 6 on average


def test_of_a_group_one_image_counts(tmp_path):
    data = ImageFolderDataModule(tmp_path)
    path = tmp_path / "a.png"
    photo(0).save(path)
    data.given_class_names = ["a", "b"]
    result = shortcut_check(data, [str(path)] * 6, [0, 0, 0, 1, 1, 1], np.zeros(6, dtype=np.int64))
    assert "of one class" in result.found
