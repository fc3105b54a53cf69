"""The rows of a manifest: what each says of its photo, and how the rows are split."""

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool._lookup import lookup
from tltool.data.layout import PART_NAMES, WHOLE
from tltool.data.split import split_by_group, split_stratified
from tltool.data.table import Columns


@dataclass(frozen=True)
class Row:
    """One photo of a manifest.

    Attributes:
        path: Where the photo lies.
        name: What the table calls it.
        label: Its class, or empty text.
        part: ``train``, ``val``, ``test``, or `WHOLE` if the table does not say.
        group: What it belongs to, or empty text if the table does not say.
    """

    path: str
    name: str
    label: str
    part: str
    group: str


def make_rows(table: Columns, root: Path, columns: Mapping[str, str], *, place: str) -> list[Row]:
    """Return the rows of a table.

    Args:
        table: The columns by name.
        root: The folder that relative paths start from.
        columns: The names of the columns of ``path``, ``label``, ``split`` and ``group``. All but
            the first may be missing from the table if they have these very names.
        place: Where the table lies, for messages.

    Raises:
        ValueError: If a column or a cell is missing, a part is unknown, or a photo is in two rows.
    """
    cells = {role: _column(table, role, name, place) for role, name in columns.items()}
    _check_filled(cells["path"], "path", place, "Give each row one.")
    _check_filled(cells["split"], "split", place, "Write train, val or test into each.")
    names = cells["path"]
    paths = [str(root / name) for name in names]
    # One photo may go by two names: ./ant.jpg, or a path from the root of the disk.
    repeated = [path for path, count in Counter(map(os.path.abspath, paths)).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{place} has {len(repeated)} photos in more than one row, such as '{repeated[0]}': it "
            "could train and validate. Leave one row for each photo."
        )
    empty = [""] * len(names)
    # Composed accents, as in the names of class folders: two forms would be two classes.
    labels = [unicodedata.normalize("NFC", label) for label in cells["label"]] or empty
    parts = [_part(cell) for cell in cells["split"]] or [WHOLE] * len(names)
    groups = cells["group"] or empty
    return [Row(*row) for row in zip(paths, names, labels, parts, groups, strict=True)]


def split_rows(
    rows: Sequence[Row], fractions: Mapping[str, float], *, seed: int
) -> dict[str, list[Row]]:
    """Split rows by group if they have one, or else each class by the same fractions.

    Args:
        rows: The rows that are not in a part yet.
        fractions: Share of each part but ``train``.
        seed: Another seed, another split.
    """
    number_of = {label: number for number, label in enumerate(sorted({row.label for row in rows}))}
    numbers = [number_of[row.label] for row in rows]
    if rows[0].group:
        groups = [row.group for row in rows]
        split = split_by_group(groups, numbers, fractions, seed=seed)
    else:
        split = split_stratified([row.name for row in rows], numbers, fractions, seed=seed)
    return {part: [rows[index] for index in indices] for part, indices in split.items()}


def check_labels(rows: Sequence[Row], *, place: str) -> None:
    """Raise if a row has no label."""
    missing = [row.name for row in rows if not row.label]
    if missing:
        raise ValueError(
            f"{len(missing)} rows of {place} have no label, such as that of {missing[0]}. Give "
            "each row one, or leave it out; to predict, labels are not needed."
        )


def check_groups(parts: Mapping[str, Sequence[Row]], *, place: str) -> None:
    """Raise if a group is in two parts, or if only some rows have one."""
    rows = [row for part in parts.values() for row in part]
    without = [row.name for row in rows if not row.group]
    if without and len(without) < len(rows):
        raise ValueError(
            f"{len(without)} rows of {place} have no group, such as that of {without[0]}. Give "
            "each row one; a photo that belongs to nothing is a group of its own."
        )
    part_of: dict[str, str] = {}
    for part, members in parts.items():
        for row in members:
            other = part_of.setdefault(row.group, part)
            if row.group and other != part:
                raise ValueError(
                    f"The group {row.group} is in {other} and in {part} of {place}, so its photos "
                    "are no honest test. Give all its rows one part, or leave the column out."
                )


def check_files(rows: Sequence[Row], *, place: str) -> None:
    """Raise if photos are missing."""
    missing = [row.path for row in rows if not os.path.isfile(row.path)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(rows)} photos that {place} names do not exist, such as "
            f"'{missing[0]}'. Set --data.root to the folder that the paths start from, or set "
            "--data.broken_files skip."
        )


def _column(table: Columns, role: str, name: str, place: str) -> list[str]:
    if name in table:
        return table[name]
    if role != "path" and name == role:
        return []
    raise ValueError(
        f"{place} has no column {name!r}; it has {', '.join(table)}. Rename one, or set "
        f"--data.{role}_column to the column with the {role}."
    )


def _check_filled(cells: Sequence[str], role: str, place: str, remedy: str) -> None:
    empty = [number for number, cell in enumerate(cells, start=1) if not cell]
    if empty:
        raise ValueError(
            f"{len(empty)} rows of {place} have no {role}, the first of them row {empty[0]} below "
            f"the header. {remedy}"
        )


def _part(cell: str) -> str:
    return lookup(PART_NAMES, cell.lower(), kind="part of the data in the column for the split")
