"""Records of a data set: path, label, split and group of each image; and their checks."""

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
    """Return the records of images that have a number instead of a file, see `InMemoryDecoder`.

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


def check_filled(cells: Sequence[str], names: Sequence[str], what: str, *, place: str) -> None:
    """Raise if something is not said of an image.

    Args:
        cells: What is said of each image, or empty text.
        names: The name of each image.
        what: What that is, such as ``label``.
        place: Where the data lies.

    Example:
        >>> check_filled(["ants", ""], ["a.jpg", "b.jpg"], "label", place="'images.csv'")
        Traceback (most recent call last):
        ...
        ValueError: 1 rows of 'images.csv' have no label, the first of them row 2, 'b.jpg'. ...
    """
    empty = [number for number, cell in enumerate(cells) if not cell]
    if empty:
        remedies = {
            "label": "Give each row one, or leave it out; to predict, labels are not needed.",
            "split": "Write train, val or test into each.",
            "group": "Give each row one; an image that belongs to nothing is a group of its own.",
        }
        raise ValueError(
            f"{len(empty)} rows of {place} have no {what}, the first of them row {empty[0] + 1}, "
            f"{names[empty[0]]!r}. {remedies.get(what, 'Give each row one.')}"
        )


def check_groups(records: Sequence[ImageRecord], *, place: str) -> None:
    """Raise if a group is in two splits, or if only some records have one."""
    groups = [record.group for record in records]
    if not any(groups):
        return
    check_filled(groups, [record.name for record in records], "group", place=place)
    split_of: dict[str, str] = {}
    for record in records:
        other = split_of.setdefault(record.group, record.split)
        if other != record.split:
            raise ValueError(
                f"The group {record.group} is in {other} and in {record.split} of {place}, so its "
                "images are no honest test. Give all its rows one split, or leave the column out."
            )
