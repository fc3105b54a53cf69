"""Records of a data set: path, label, split and group of each image; and their checks."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from tltool.data.files.folder_layout import WHOLE


class ImageRecord(NamedTuple):
    """What a data set says of one image.

    Attributes:
        path: Where the image lies, or what its decoder knows it by.
        name: What decides its place in a split, the same wherever the data lies.
        label: Its class, or empty text.
        split: ``train``, ``val``, ``test``, or `WHOLE` if the data does not say.
        group: What it belongs to, such as a patient, or empty text if the data does not say.
    """

    path: str
    name: str
    label: str
    split: str = WHOLE
    group: str = ""


def number_records(source: str, labels: Sequence[str], split: str = WHOLE) -> list[ImageRecord]:
    """Return the records of images that have a number instead of a file, see `IndexedDecoder`.

    Args:
        source: The name in front of the numbers.
        labels: Label of each image in the source.
        split: The split of all of them.

    Example:
        >>> [record.path for record in number_records("dots", ["black", "white"])]
        ['dots/000000', 'dots/000001']
    """
    names = (f"{source}/{number:06}" for number in range(len(labels)))
    return [
        ImageRecord(name, name, label, split) for name, label in zip(names, labels, strict=True)
    ]


def check_labels(records: Sequence[ImageRecord], *, place: str) -> None:
    """Raise if a record has no label."""
    missing = [record.name for record in records if not record.label]
    if missing:
        raise ValueError(
            f"{len(missing)} rows of {place} have no label, such as that of {missing[0]}. Give "
            "each row one, or leave it out; to predict, labels are not needed."
        )


def check_groups(records: Sequence[ImageRecord], *, place: str) -> None:
    """Raise if a group is in two splits, or if only some records have one."""
    without = [record.name for record in records if not record.group]
    if without and len(without) < len(records):
        raise ValueError(
            f"{len(without)} rows of {place} have no group, such as that of {without[0]}. Give "
            "each row one; an image that belongs to nothing is a group of its own."
        )
    split_of: dict[str, str] = {}
    for record in records:
        other = split_of.setdefault(record.group, record.split)
        if record.group and other != record.split:
            raise ValueError(
                f"The group {record.group} is in {other} and in {record.split} of {place}, so its "
                "images are no honest test. Give all its rows one split, or leave the column out."
            )


def check_files(records: Sequence[ImageRecord], *, place: str) -> None:
    """Raise if images are missing."""
    missing = [record.path for record in records if not os.path.isfile(record.path)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(records)} images that {place} names do not exist, such as "
            f"'{missing[0]}'. Set --data.root to the folder that the paths start from, or set "
            "--data.broken_files skip."
        )
