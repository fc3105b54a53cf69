"""Checks of the images of a data set: readable, balanced, no duplicates, no leakage of splits."""

import copy
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tltool._csv_rows import write_rows
from tltool.data.files.decoding import decode_image, read_content
from tltool.data.files.decoding_threads import map_in_threads
from tltool.data.files.image_errors import BrokenImageError
from tltool.data.loading.image_dataset import decode_with
from tltool.data.loading.labels import Label, label_text
from tltool.data.loading.samples import Samples, Splits
from tltool.diagnostics.checks.check_result import Check, CheckResult, listed
from tltool.diagnostics.checks.class_balance import class_balance
from tltool.diagnostics.checks.duplicates import Duplicates, ImageHash, find_duplicates, image_hash
from tltool.diagnostics.checks.leakage import exact_duplicates, near_duplicates

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule

LEAST = 8  # images of a split that are drawn
EDGE = 64  # A quarter of it is looked at; a JPEG is decoded at an eighth of its size at best.


@dataclass(frozen=True)
class HashedImages:
    """The images that were read.

    Attributes:
        samples: Those of each split that can be decoded, in the order of the splits.
        hashes: One for each of them, split by split.
        broken: Messages about the others.
        num_images: How many there are in all.
    """

    samples: dict[str, Samples]
    hashes: list[ImageHash]
    broken: list[str]
    num_images: int

    @property
    def num_read(self) -> int:
        """How many were read, the broken ones included."""
        return len(self.hashes) + len(self.broken)

    @property
    def paths(self) -> list[str]:
        """The path of each image with a hash."""
        return [path for samples in self.samples.values() for path in samples.paths]

    @property
    def names(self) -> list[str]:
        """Their paths, without what all of them begin with."""
        paths = [os.path.abspath(path) for path in self.paths]
        common = os.path.commonpath(paths)
        return [os.path.relpath(path, common) for path in paths]

    @property
    def splits(self) -> list[str]:
        """The split of each of them."""
        return [split for split, samples in self.samples.items() for _ in samples.paths]

    @property
    def labels(self) -> list[Label]:
        """The label of each of them."""
        return [label for samples in self.samples.values() for label in samples.labels or ()]


def hash_images(data: "ImageDataModule", max_images: int | None) -> HashedImages:
    """Read images and keep their hashes.

    Args:
        data: All images.
        max_images: Of more, so many are drawn at random, the same in each call; ``None`` for all.
    """
    there = {split: samples for split, samples in data.splits.by_name().items() if samples}
    read: dict[str, Samples] = {}
    hashes: list[ImageHash] = []
    broken: list[str] = []
    for split, drawn in _draw(there, max_images).items():
        title, read_one = f"Reading the {split} images", partial(_read, data)
        found = [*map_in_threads(read_one, drawn.paths, description=title, show_progress=True)]
        is_whole = [isinstance(each, ImageHash) for each in found]
        read[split] = drawn.subset(np.flatnonzero(is_whole).tolist())
        hashes += [each for each in found if isinstance(each, ImageHash)]
        broken += [each for each in found if isinstance(each, str)]
    return HashedImages(read, hashes, broken, sum(map(len, there.values())))


def check_images(
    images: HashedImages, data: "ImageDataModule"
) -> tuple[list[CheckResult], Duplicates]:
    """Return the results of all checks of the images, and the duplicates among them."""
    duplicates = find_duplicates(images.hashes)
    splits = data.splits.by_name().items()
    counts = {split: each.class_counts(data.num_classes) for split, each in splits if each}
    results = [
        images_are_readable(images),
        *_balance(counts, data),
        exact_duplicates(duplicates, images.names, images.splits, images.labels),
        near_duplicates(duplicates, images.names, images.splits),
    ]
    return results, duplicates


def _balance(counts: dict[str, list[int]], data: "ImageDataModule") -> list[CheckResult]:
    """Return the check of the classes; numbers have none."""
    if data.objective == "regression":
        return []
    return [class_balance(counts, data.class_names, several=data.objective == "multi_label")]


def images_are_readable(images: HashedImages) -> CheckResult:
    """Say whether all images that were read could be decoded.

    Example:
        >>> images_are_readable(HashedImages({}, [], ["a.png is empty. Remove it."], 1)).found
        '1 of 1 images are broken. a.png is empty.'
    """
    check, read = Check("readable"), images.num_read
    if images.broken:
        reasons = listed([message.split(". Remove it")[0] for message in images.broken])
        return check.problem("broken", broken=len(images.broken), read=read, reasons=reasons)
    drawn = "" if read == images.num_images else f" of {images.num_images:,}, drawn at random"
    return check.ok(f"{read:,} images{drawn}")


def only_readable(data: "ImageDataModule", images: HashedImages) -> "ImageDataModule":
    """Return the data with the images that were read, decoded in the main process."""
    smaller = copy.copy(data)
    train, val, test = (images.samples.get(split) for split in ("train", "val", "test"))
    smaller.splits = Splits(train, val, test)
    smaller.num_workers = 0
    return smaller


def write_duplicate_groups(
    file: str, images: HashedImages, duplicates: Duplicates, data: "ImageDataModule"
) -> NDArray[np.int64]:
    """Write a manifest in which copies share a group.

    Groups that the data has already, such as patients, stay together too. The splits are left out:
    they are what leaks, and `ManifestDataModule` splits by group anew.

    Args:
        file: A new CSV file, with columns ``path``, ``label`` and ``group``.
        images: What the manifest lists.
        duplicates: Among them.
        data: Their source.

    Returns:
        The number of images in each group.

    Raises:
        ValueError: If the images do not lie in files of their own.
    """
    if data.decoder is not decode_image:
        raise ValueError(
            f"The images of {data.place} are no files that a manifest could name. Leave "
            "--write_groups out."
        )
    groups = [group for samples in images.samples.values() for group in samples.groups or ()]
    clusters = duplicates.clusters(groups if len(groups) == len(images.paths) else ())
    rows = [
        {
            "path": os.path.abspath(path),
            "label": label_text(label, data.class_names),
            "group": f"g{cluster}",
        }
        for path, label, cluster in zip(images.paths, images.labels, clusters, strict=True)
    ]
    write_rows(Path(file), ["path", "label", "group"], rows)
    return np.bincount(clusters)


def _draw(splits: dict[str, Samples], max_images: int | None) -> dict[str, Samples]:
    total = sum(map(len, splits.values()))
    if max_images is None or total <= max_images:
        return splits
    generator = np.random.default_rng(0)
    drawn = {}
    for split, samples in splits.items():
        number = max(round(len(samples) * max_images / total), min(len(samples), LEAST))
        chosen = generator.choice(len(samples), number, replace=False).tolist()
        drawn[split] = samples.subset(sorted(chosen))
    return drawn


def _read(data: "ImageDataModule", path: str) -> ImageHash | str:
    """Return the hash of an image, or a message."""
    value_range = data.known_value_range
    try:
        if data.decoder is not decode_image:  # The images lie in one file.
            image = decode_with(data.decoder, path, value_range=value_range)
            return image_hash(image, image.tobytes())
        content = read_content(path)
        gray = decode_image(path, mode="L", size=EDGE, content=content, value_range=value_range)
        return image_hash(gray, content)
    except BrokenImageError as error:
        return str(error)
