"""Datamodule of images in a table (CSV, TSV, Parquet): path, label, split and group."""

import os
import unicodedata
from collections import Counter
from pathlib import Path
from typing import ClassVar

from tltool._lookup import lookup
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.label_cells import found_classes
from tltool.data.datamodules.records import ImageRecord, check_filled
from tltool.data.datamodules.shared_options import FileOptions, Unpack
from tltool.data.files.decoding import is_image_name
from tltool.data.files.directory_listing import as_root
from tltool.data.files.folder_layout import WHOLE
from tltool.data.files.split_words import SPLIT_NAMES
from tltool.data.files.table_files import Columns, read_table
from tltool.data.files.table_paths import local_path, missing_image_advice, path_below, real_paths
from tltool.data.loading.samples import Samples


class ManifestDataModule(ImageDataModule):
    r"""Images that a table names: CSV, TSV or Parquet, one row for each image.

    A row has a path and a label. A column ``split`` says which images train, validate (``val``,
    ``valid``, ``validation``) and test; without it, or without validation rows, the images are
    split by ``seed``. A column ``group`` names what belongs together, such as images of one
    patient: no group is ever on two sides. To predict, the path is enough, and all rows are read.

    Where the objective is ``multi_label``, a label is any number of classes, such as ``ants;bees``,
    and an empty one means none of them; where it is ``regression``, it is a number.

    Args:
        manifest: The table.
        root: The folder that relative paths start from; ``None`` for the folder of the table.
        path_column: Name of the column with the path.
        label_column: Name of the column with the class, the classes or the number. Classes are
            sorted by name, numbers in it by value.
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
        self.manifest = Path(os.path.expanduser(manifest))
        self.root = self.manifest.parent if root is None else as_root(root)
        self.columns = {
            "path": path_column,
            "label": label_column,
            "split": split_column,
            "group": group_column,
        }
        self.target_name = "target" if label_column == "label" else label_column
        self.set_source(self.manifest.stem, f"'{self.manifest}'", test_fraction=test_fraction)

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`. The classes of the training rows, or of all if there are none."""
        self.check_labels()
        training = [row for row in self.records if row.split in (WHOLE, "train")] or self.records
        return found_classes([row.label for row in training], self.objective)

    def find_records(self) -> list[ImageRecord]:
        """See `ImageDataModule`.

        Raises:
            ValueError: If a column or a cell is missing, a split is unknown, or an image is in two
                rows.
        """
        table = read_table(self.manifest)
        names, labels, splits, groups = (
            _column(table, role, name, self.place) for role, name in self.columns.items()
        )
        check_filled(names, names, "path", place=self.place)
        check_filled(splits, names, "split", place=self.place)
        names = [local_path(name, self.root) for name in names]
        paths = [str(self.root / name) for name in names]
        # One image may go by two names: ./ant.jpg, a path from the root of the disk, or by a link.
        counts = Counter(real_paths(paths))
        repeated = [path for path, count in counts.items() if count > 1]
        if repeated:
            raise ValueError(
                f"{self.place} has {len(repeated)} images in more than one row, such as "
                f"'{repeated[0]}': it could train and validate. Leave one row for each image."
            )
        kind, empty = "split in the column for it", [""] * len(names)
        # Composed accents, as in the names of class folders: two forms would be two classes.
        labels = [unicodedata.normalize("NFC", label) for label in labels] or empty
        splits = [lookup(SPLIT_NAMES, cell.lower(), kind=kind) for cell in splits]
        splits = splits or [WHOLE] * len(names)
        # By any of its names an image has one place in a split.
        names = [path_below(name, self.root) for name in names]
        return list(map(ImageRecord, paths, names, labels, splits, groups or empty))

    def readable_records(self) -> list[ImageRecord]:
        """See `ImageDataModule`."""
        missing = [row.path for row in self.records if not os.path.isfile(row.path)]
        if missing and self.broken_files == "stop":
            raise FileNotFoundError(
                f"{len(missing)} of {len(self.records)} images that {self.place} names do not "
                f"exist, such as '{missing[0]}'. {missing_image_advice(Path(missing[0]))}"
            )
        return super().readable_records()

    def find_unlabeled(self) -> Samples:
        """Return the images of all rows, in order."""
        return Samples([row.path for row in self.readable_records()])

    def known_labels(self) -> dict[str, str]:
        """See `ImageDataModule`: those of all rows that have one."""
        return {row.path: row.label for row in self.records if row.label}


def _column(table: Columns, role: str, name: str, place: str) -> list[str]:
    """Return the cells of a column; all but the path may be missing under its usual name."""
    if name in table:
        return table[name]
    if role != "path" and name == role:
        return []
    if any(map(is_image_name, table)):
        raise ValueError(
            f"The first line of {place} looks like data and not like a header: "
            f"{', '.join(table)}. Write a line with the names of the columns above it, such as "
            "path,label."
        )
    raise ValueError(
        f"{place} has no column {name!r}; it has {', '.join(table)}. Rename one, or set "
        f"--data.{role}_column to the column with the {role}."
    )
