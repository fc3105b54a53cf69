"""Review of suspicious labels: a table to fill in, and the manifest with what was decided."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from tltool._csv_rows import write_rows
from tltool._lookup import lookup
from tltool._plain_text import one_line
from tltool.data.files.decoding import decode_image
from tltool.data.files.table_files import cell_text, read_table
from tltool.data.loading.labels import label_text

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule

COLUMNS = ("path", "label", "suggested", "of_label", "of_suggested", "decision")
KEEP, DROP, SUGGESTED = "keep", "drop", "suggested"
CLASS = "class:"
"""In front of a class that is called as one of these words."""
Undecided = Literal["keep", "drop"]


class Suspect(NamedTuple):
    """An image whose label is suspicious.

    Attributes:
        path: Where it lies.
        label: The class that it has.
        suggested: The class that all other images say.
        of_label: The probability of its own class.
        of_suggested: That of the suggested one.
    """

    path: str
    label: str
    suggested: str
    of_label: float
    of_suggested: float


def write_review(file: Path, suspects: Sequence[Suspect]) -> None:
    """Write a table with a column ``decision`` to fill in."""
    rows = [
        {
            **suspect._asdict(),
            "of_label": f"{suspect.of_label:.4f}",
            "of_suggested": f"{suspect.of_suggested:.4f}",
            "decision": "",
        }
        for suspect in suspects
    ]
    write_rows(file, list(COLUMNS), rows)


def check_table_names(data: "ImageDataModule") -> None:
    """Raise if a table cannot hold the name of an image or of a class.

    Raises:
        ValueError: If one is no UTF-8, or would be read as an empty cell.
    """
    names = [path for samples in data.splits.by_name().values() for path in samples.paths]
    for name in (*names, *data.class_names):
        if not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError(
                f"The name {one_line(name)!r} is no UTF-8, so a table cannot hold it. Rename it."
            )
    for name in data.class_names:
        if cell_text(name) != name:
            raise ValueError(
                f"A table cannot hold the class {name!r}: it would be read as "
                f"{cell_text(name) or 'an empty cell'!r}. Rename it."
            )


def read_decisions(
    file: Path, class_names: Sequence[str], undecided: Undecided = "keep"
) -> dict[str, str | None]:
    """Return the label that was decided for each image by path; ``None`` for one to leave out.

    A decision is a class, ``suggested``, ``keep`` or ``drop``; a class of such a name is written
    ``class:keep``.

    Args:
        file: The table, filled in.
        class_names: The classes.
        undecided: What an empty cell says.

    Raises:
        ValueError: If a column is missing, or a decision is none of these.
    """
    table = read_table(file)
    missing = [name for name in ("path", "label", "suggested", "decision") if name not in table]
    if missing:
        raise ValueError(
            f"'{file}' has no column {missing[0]!r}, so it is no table of --labels. Name the file "
            "that tltool doctor --labels wrote, or leave --apply out to write it."
        )
    columns = (table[name] for name in ("path", "label", "suggested", "decision"))
    decided: dict[str, str | None] = {}
    for path, label, suggested, cell in zip(*columns, strict=True):
        words: dict[str, str | None] = {KEEP: label, DROP: None, SUGGESTED: suggested}
        if not cell:
            decided[path] = words[undecided]
            continue
        if cell in words and cell in class_names:
            raise ValueError(
                f"The decision {cell!r} in '{file}' is a class and a word of this table. Write "
                f"{CLASS}{cell} for the class, and leave the cell empty to keep the label."
            )
        choices = {**dict(zip(class_names, class_names, strict=True)), **words}
        choices |= {f"{CLASS}{name}": name for name in class_names}
        decided[path] = lookup(choices, cell, kind="decision")
    return decided


def corrected_rows(
    data: "ImageDataModule", decided: Mapping[str, str | None]
) -> Iterator[dict[str, str]]:
    """Yield a row of a manifest for each image that stays, with its split as it is now.

    Args:
        data: All images.
        decided: See `read_decisions`.

    Raises:
        ValueError: If the images do not lie in files of their own, or a decision is about an image
            that is not among them.
    """
    if data.decoder is not decode_image:
        raise ValueError(
            f"The images of {data.place} are no files that a manifest could name. Leave --apply "
            "out."
        )
    splits = data.splits.by_name()
    known = {os.path.abspath(path) for samples in splits.values() for path in samples.paths}
    for path in decided:
        if os.path.abspath(path) not in known:
            raise ValueError(
                f"{path!r} is no image of {data.place}. Give the data with which --labels wrote "
                "the table."
            )
    by_place = {os.path.abspath(path): label for path, label in decided.items()}
    for split, samples in splits.items():
        groups = samples.groups or [""] * len(samples)
        for path, label, group in zip(samples.paths, samples.labels or (), groups, strict=True):
            place = os.path.abspath(path)
            now = by_place.get(place, label_text(label, data.class_names))
            if now is not None:
                row = {"path": place, "label": now, "split": split}
                yield {**row, "group": group} if samples.groups else row


def write_corrected(file: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write the rows of `corrected_rows` as a manifest, whole or not at all."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_rows(file, columns, rows)
