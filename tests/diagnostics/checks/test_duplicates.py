"""Copies are found, also resized and encoded again; what is merely alike is not."""

import io
import time

import numpy as np
import pytest
import torch
from PIL import Image

from tltool.diagnostics.checks.duplicates import Duplicates, ImageHash, find_duplicates, image_hash
from tltool.diagnostics.checks.leakage import exact_duplicates, near_duplicates

NO_PAIRS = np.empty((0, 2), dtype=np.int64)


def draw_image(seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (6, 6, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy()).resize((160, 128), Image.Resampling.BICUBIC)


def encode(image, quality):
    file = io.BytesIO()
    image.save(file, "jpeg", quality=quality)
    return Image.open(file)


def prints_of(images):
    return [image_hash(image, str(index).encode()) for index, image in enumerate(images)]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((80, 64)),
        lambda image: image.resize((320, 256)),
        lambda image: encode(image, 30),
        lambda image: image.point(lambda level: 0.8 * level),
    ],
)
def test_a_changed_copy_is_found_among_others(change):
    images = [draw_image(seed) for seed in range(20)]
    found = find_duplicates(prints_of([*images, change(images[7])]))
    assert found.near.tolist() == [[7, 20]]


def test_images_of_one_color_are_no_copies_of_each_other():
    flat = [Image.new("RGB", (40, 40), color) for color in ("red", "white", "navy")]
    found = find_duplicates(prints_of(flat))
    assert found.num_flat == 3
    assert len(found.near) == 0


def test_images_of_one_hash_and_other_content_are_no_copies():
    ramp = Image.linear_gradient("L").rotate(90)
    stripe = Image.fromarray((np.asarray(ramp) ** 0.2 * 84).astype(np.uint8))
    hashes = prints_of([ramp, stripe])
    assert (hashes[0].bits == hashes[1].bits).all()
    assert len(find_duplicates(hashes).near) == 0


def test_thousands_of_images_take_seconds():
    generator = np.random.default_rng(0)
    bits = generator.random((6000, 64)) < 0.5
    thumbnails = generator.standard_normal((6000, 256)).astype(np.float32)
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True)
    hashes = [
        ImageHash(str(index).encode(), *row)
        for index, row in enumerate(zip(bits, thumbnails, strict=True))
    ]
    start = time.monotonic()
    assert len(find_duplicates(hashes).near) == 0
    assert time.monotonic() - start < 20


def test_clusters_hang_together_by_pairs_by_content_and_by_what_is_given():
    found = Duplicates(np.array([0, 1, 2, 2, 3, 4]), np.array([[0, 1], [1, 2]]), 0)
    alone = found.clusters()
    assert alone.tolist() == [0, 0, 0, 0, 1, 2]
    assert found.clusters(["a", "b", "c", "d", "e", "a"]).tolist() == [0, 0, 0, 0, 1, 0]


def test_a_copy_in_another_class_is_a_warning():
    found = Duplicates(np.array([0, 0]), NO_PAIRS, 0)
    result = exact_duplicates(found, ["a", "b"], ["train", "train"], [0, 1])
    assert result.status == "warning"
    assert "in two classes: a = b" in result.found


def test_copies_inside_a_split_are_counted_and_good():
    found = Duplicates(np.array([0, 0]), NO_PAIRS, 0)
    result = exact_duplicates(found, ["a", "b"], ["train", "train"], [0, 0])
    assert (result.status, result.found[:8]) == ("ok", "1 copies")


def test_few_near_duplicates_among_many_images_are_a_warning():
    found = Duplicates(np.arange(1000), np.array([[0, 999]]), 0)
    splits = ["train"] * 500 + ["val"] * 500
    result = near_duplicates(found, [str(n) for n in range(1000)], splits)
    assert result.status == "warning"


@pytest.mark.parametrize(("num_alike", "are_tied"), [(20, True), (60, False)])
def test_images_that_nearly_all_look_alike_are_no_copies(num_alike, are_tied):
    """As those of a fixed camera: pairs that look alike chain through all of them."""
    near = np.stack([np.arange(num_alike - 1), np.arange(1, num_alike)], axis=1)
    duplicates = Duplicates(np.array([0, 0, *range(2, 80)]), near, 0)
    groups, said = duplicates.ties()
    assert (groups[0] == groups[1], groups[0] == groups[2]) == (True, are_tied)
    assert ("60 of 80 images hang together" in said) == (not are_tied)
