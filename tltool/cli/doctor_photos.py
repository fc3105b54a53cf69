"""What `tltool doctor` sees in the photos, and the groups that it writes down."""

import copy
import csv
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.data.datamodule import ImageDataModule, Part
from tltool.data.decode import BrokenImageError, decode_image, read_content
from tltool.data.samples import Samples, Splits
from tltool.data.threads import map_in_threads
from tltool.diagnosis.class_balance import class_balance
from tltool.diagnosis.duplicates import Duplicates, find_duplicates
from tltool.diagnosis.finding import Finding, listed
from tltool.diagnosis.leakage import exact_duplicates, near_duplicates
from tltool.diagnosis.photo_prints import PhotoPrint, photo_print

log = logging.getLogger(__name__)

PARTS: tuple[Part, ...] = ("train", "val", "test")
LEAST = 8  # photos of a part that are drawn
EDGE = 64  # A quarter of it is looked at; a JPEG is decoded at an eighth of its size at best.


@dataclass(frozen=True)
class SeenPhotos:
    """The photos that were read.

    Attributes:
        samples: Those of each part that can be decoded, in the order of the parts.
        prints: One for each of them, part by part.
        broken: Messages about the others.
        num_photos: How many there are in all.
    """

    samples: dict[Part, Samples]
    prints: list[PhotoPrint]
    broken: list[str]
    num_photos: int

    @property
    def paths(self) -> list[str]:
        """The path of each photo with a print."""
        return [path for samples in self.samples.values() for path in samples.paths]

    @property
    def names(self) -> list[str]:
        """Their paths, without what all of them begin with."""
        paths = [os.path.abspath(path) for path in self.paths]
        common = os.path.commonpath(paths)
        return [os.path.relpath(path, common) for path in paths]

    @property
    def parts(self) -> list[str]:
        """The part of each of them."""
        return [part for part, samples in self.samples.items() for _ in samples.paths]

    @property
    def labels(self) -> list[int]:
        """The label of each of them."""
        return [label for samples in self.samples.values() for label in samples.labels or ()]


def look_at_photos(data: ImageDataModule, max_photos: int | None) -> SeenPhotos:
    """Read photos and keep their prints.

    Args:
        data: All photos.
        max_photos: Of more, so many are drawn at random, the same in each call; ``None`` for all.
    """
    chosen = dict(_draw(data, max_photos))
    samples: dict[Part, Samples] = {}
    prints: list[PhotoPrint] = []
    broken: list[str] = []
    for part, drawn in chosen.items():
        results = list(
            map_in_threads(
                lambda path: _look(data, path),
                drawn.paths,
                description=f"Looking at the {part} photos",
                show_progress=True,
            )
        )
        readable = [index for index, result in enumerate(results) if not isinstance(result, str)]
        samples[part] = drawn.subset(readable)
        prints += [result for result in results if isinstance(result, PhotoPrint)]
        broken += [result for result in results if isinstance(result, str)]
    num_photos = sum(len(getattr(data.splits, part) or ()) for part in PARTS)
    return SeenPhotos(samples, prints, broken, num_photos)


def photo_findings(seen: SeenPhotos, data: ImageDataModule) -> tuple[list[Finding], Duplicates]:
    """Return what is wrong with the photos, and which are there twice."""
    duplicates = find_duplicates(seen.prints)
    counts: dict[str, list[int]] = {
        part: samples.class_counts(data.num_classes)
        for part in PARTS
        if (samples := getattr(data.splits, part))
    }
    findings = [
        _readable(seen),
        class_balance(counts, data.class_names),
        exact_duplicates(duplicates, seen.names, seen.parts, seen.labels),
        near_duplicates(duplicates, seen.names, seen.parts),
    ]
    return findings, duplicates


def only_readable(data: ImageDataModule, seen: SeenPhotos) -> ImageDataModule:
    """Return the data with the photos that were read, decoded in the main process."""
    smaller = copy.copy(data)
    smaller.splits = Splits(**seen.samples)
    smaller.num_workers = 0
    return smaller


def check_groups_file(file: str) -> None:
    """Check where the groups go, before it takes time.

    Raises:
        FileExistsError: If there is a file already.
        FileNotFoundError: If there is no folder for it.
        ValueError: If it is no CSV.
    """
    path = Path(file)
    if path.suffix.lower() != ".csv":
        raise ValueError(
            f"--write_groups writes a CSV table. Write --write_groups groups.csv, not {file!r}."
        )
    if path.exists():
        raise FileExistsError(f"{file!r} exists. Name a new file, or remove it first.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(path.parent)!r} for --write_groups. Create it first."
        )


def write_groups(file: str, seen: SeenPhotos, duplicates: Duplicates, data: ImageDataModule) -> str:
    """Write a manifest in which copies share a group, and return the lines that say so.

    Groups that the data has already, such as patients, stay together too. The parts are left out:
    they are what leaks, and `ManifestDataModule` splits by group anew.

    Raises:
        ValueError: If the photos do not lie in files of their own.
    """
    if data.decoder is not decode_image:
        raise ValueError(
            f"The photos of {data.place} do not lie in files of their own, which a manifest could "
            "name. Leave --write_groups out."
        )
    groups = [group for samples in seen.samples.values() for group in samples.groups or ()]
    clusters = duplicates.clusters(groups if len(groups) == len(seen.paths) else ())
    sizes = np.bincount(clusters)
    with Path(file).open("x", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["path", "label", "group"])
        for path, label, cluster in zip(seen.paths, seen.labels, clusters, strict=True):
            writer.writerow([os.path.abspath(path), data.class_names[label], f"g{cluster}"])
    left_out = f"; {len(seen.broken)} broken ones left out" if seen.broken else ""
    test = ""
    if "test" in seen.samples:
        test = f" --data.test_fraction {len(seen.samples['test']) / len(seen.paths):.2f}"
    return (
        f"groups   {file}: {len(seen.paths):,} photos in {len(sizes):,} groups, the largest of "
        f"{sizes.max():,}{left_out}\n"
        f"next     tltool fit --data ManifestDataModule --data.manifest {file}{test}"
    )


def describe_seen(seen: SeenPhotos) -> str:
    """Return the line that says how many photos were read.

    Example:
        >>> describe_seen(SeenPhotos({}, [], [], 0))
        'photos   all 0 were read'
    """
    number = len(seen.prints) + len(seen.broken)
    if number == seen.num_photos:
        return f"photos   all {number:,} were read"
    return (
        f"photos   {number:,} of {seen.num_photos:,} were read, drawn at random (--max_photos): "
        "copies are found where both were drawn"
    )


def _draw(data: ImageDataModule, max_photos: int | None) -> Iterator[tuple[Part, Samples]]:
    there = {part: samples for part in PARTS if (samples := getattr(data.splits, part))}
    total = sum(map(len, there.values()))
    generator = np.random.default_rng(0)
    for part, samples in there.items():
        if max_photos is None or total <= max_photos:
            yield part, samples
            continue
        number = max(round(len(samples) * max_photos / total), min(len(samples), LEAST))
        drawn = np.sort(generator.choice(len(samples), number, replace=False))
        yield part, samples.subset(drawn.tolist())


def _look(data: ImageDataModule, path: str) -> PhotoPrint | str:
    """Return the print of a photo, or a message."""
    decode = data.decoder
    try:
        if decode is not decode_image:  # The photos lie in one file.
            photo = decode(path, mode="RGB", size=None)
            return photo_print(photo, photo.tobytes())
        content = read_content(path)
        return photo_print(decode_image(path, mode="L", size=EDGE, content=content), content)
    except BrokenImageError as error:
        return str(error)


def _readable(seen: SeenPhotos) -> Finding:
    check = "readable"
    number = len(seen.prints) + len(seen.broken)
    if not seen.broken:
        drawn = "" if number == seen.num_photos else f" of {seen.num_photos:,}, drawn at random"
        return Finding(check, "ok", f"{number:,} photos{drawn}")
    reasons = [message.split(". Remove it")[0] for message in seen.broken]
    return Finding(
        check,
        "failed",
        f"{len(seen.broken)} of {number:,} photos are broken. {listed(reasons)}.",
        "Remove them, or --data.broken_files skip.",
    )
