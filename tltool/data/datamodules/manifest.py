"""Images in a table: one row for each, with its path, label, split and group."""

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tltool._lookup import lookup
from tltool.data.datamodules.class_checks import sort_classes
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.records import ImageRecord, check_files, check_labels
from tltool.data.datamodules.shared_options import FileOptions, Unpack
from tltool.data.datamodules.stratified_split import check_fractions
from tltool.data.files.folder_layout import SPLIT_NAMES, WHOLE
from tltool.data.files.tables import Columns, read_table
from tltool.data.loading.samples import Samples


class ManifestDataModule(ImageDataModule):
    r"""Images that a table names: CSV, TSV or Parquet, one row for each image.

    A row has a path and a label. A column ``split`` says which images train, validate (``val``,
    ``valid``, ``validation``) and test; without it, or without validation rows, the images are
    split by ``seed``. A column ``group`` names what belongs together, such as images of one
    patient: no group is ever on two sides. To predict, the path is enough, and all rows are read.

    Args:
        manifest: The table.
        root: The folder that relative paths start from; ``None`` for the folder of the table.
        path_column: Name of the column with the path.
        label_column: Name of the column with the class. Classes are sorted by name, or by value if
            all are whole numbers.
        split_column: Name of the column with the split, if there is one.
        group_column: Name of the column with the group, if there is one.
        test_fraction: Share of the images that tests where the table has no column for the split;
            0 for none.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> table = ["path,label"]
        >>> for index in range(10):
        ...     table.append(f"{index}.png,{['ants', 'bees'][index % 2]}")
        ...     Image.new("RGB", (8, 8)).save(folder / f"{index}.png")
        >>> _ = (folder / "images.csv").write_text("\n".join(table))
        >>> data = ManifestDataModule(folder / "images.csv")
        >>> data.class_names, len(data.samples("train")), len(data.samples("val"))
        (['ants', 'bees'], 8, 2)
    """

    remedies: ClassVar = {
        "train": "Give rows with split = train.",
        "val": "Give rows with split = val, or a label for each row.",
        "test": "Give rows with split = test, or set --data.test_fraction 0.15.",
    }

    def __init__(
        self,
        manifest: str | Path,
        *,
        root: str | Path | None = None,
        path_column: str = "path",
        label_column: str = "label",
        split_column: str = "split",
        group_column: str = "group",
        test_fraction: float = 0.0,
        **options: Unpack[FileOptions],
    ) -> None:
        super().__init__(**options)
        if test_fraction:
            self.fractions["test"] = test_fraction
        check_fractions(self.fractions)
        self.manifest = Path(manifest).expanduser()
        self.root = self.manifest.parent if root is None else Path(root).expanduser()
        self.columns = {
            "path": path_column,
            "label": label_column,
            "split": split_column,
            "group": group_column,
        }
        self.name = self.manifest.stem
        self.place = f"'{self.manifest}'"

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`. The classes of the training rows, or of all if there are none."""
        training = [row for row in self.records if row.split in (WHOLE, "train")] or self.records
        check_labels(training, place=self.place)
        return sort_classes({row.label for row in training})

    def find_records(self) -> list[ImageRecord]:
        """See `ImageDataModule`."""
        table = read_table(self.manifest)
        return records_of_table(table, self.root, self.columns, place=self.place)

    def readable_records(self) -> list[ImageRecord]:
        """See `ImageDataModule`."""
        if self.broken_files == "stop":
            check_files(self.records, place=self.place)
        return super().readable_records()

    def find_unlabeled(self) -> Samples:
        """Return the images of all rows, in order."""
        return Samples([row.path for row in self.readable_records()])

    def known_labels(self) -> dict[str, str]:
        """See `ImageDataModule`: those of all rows that have one."""
        return {row.path: row.label for row in self.records if row.label}


def records_of_table(
    table: Columns, root: Path, columns: Mapping[str, str], *, place: str
) -> list[ImageRecord]:
    """Return the records of the rows of a table.

    Args:
        table: The columns by name.
        root: The folder that relative paths start from.
        columns: The names of the columns of ``path``, ``label``, ``split`` and ``group``. All but
            the first may be missing from the table if they have these very names.
        place: Where the table lies, for messages.

    Raises:
        ValueError: If a column or a cell is missing, a split is unknown, or an image is in two
            rows.
    """
    cells = {role: _column(table, role, name, place) for role, name in columns.items()}
    _check_filled(cells["path"], "path", place, "Give each row one.")
    _check_filled(cells["split"], "split", place, "Write train, val or test into each.")
    names = cells["path"]
    paths = [str(root / name) for name in names]
    # One image may go by two names: ./ant.jpg, or a path from the root of the disk.
    repeated = [path for path, count in Counter(map(os.path.abspath, paths)).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{place} has {len(repeated)} images in more than one row, such as '{repeated[0]}': it "
            "could train and validate. Leave one row for each image."
        )
    empty = [""] * len(names)
    # Composed accents, as in the names of class folders: two forms would be two classes.
    labels = [unicodedata.normalize("NFC", label) for label in cells["label"]] or empty
    splits = [_split_name(cell) for cell in cells["split"]] or [WHOLE] * len(names)
    groups = cells["group"] or empty
    return list(map(ImageRecord, paths, names, labels, splits, groups))


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


def _split_name(cell: str) -> str:
    return lookup(SPLIT_NAMES, cell.lower(), kind="split in the column for it")
