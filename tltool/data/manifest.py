"""Photos in a table: one row for each, with its path, label, part and group."""

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tltool.data.augmentation import Augmentation
from tltool.data.classes import check_class_names, check_class_sizes, sort_classes
from tltool.data.datamodule import ImageDataModule, Part
from tltool.data.layout import WHOLE
from tltool.data.preprocessing import Preprocessing
from tltool.data.rows import Row, check_files, check_groups, check_labels, make_rows, split_rows
from tltool.data.samples import Samples, Splits, relabel
from tltool.data.split import check_fractions
from tltool.data.table import read_table

_REMEDIES = {
    "train": "Give rows with split = train.",
    "val": "Give rows with split = val, or a label for each row.",
    "test": "Give rows with split = test, or set --data.test_fraction 0.15.",
}


class ManifestDataModule(ImageDataModule):
    r"""Photos that a table names: CSV, TSV or Parquet, one row for each photo.

    A row has a path and a label. A column ``split`` says which photos train, validate (``val``,
    ``valid``, ``validation``) and test; without it, or without validation rows, the photos are
    split by ``seed``. A column ``group`` names what belongs together, such as photos of one
    patient: no group is ever on two sides. To predict, the path is enough, and all rows are read.

    Args:
        manifest: The table.
        root: The folder that relative paths start from; ``None`` for the folder of the table.
        path_column: Name of the column with the path.
        label_column: Name of the column with the class. Classes are sorted by name, or by value if
            all are whole numbers.
        split_column: Name of the column with the part, if there is one.
        group_column: Name of the column with the group, if there is one.
        test_fraction: Share of the photos that tests where the table has no column for the part;
            0 for none.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> rows = [f"{index}.png,{['ants', 'bees'][index % 2]}" for index in range(10)]
        >>> _ = (folder / "photos.csv").write_text("\n".join(["path,label", *rows]))
        >>> for index in range(10):
        ...     Image.new("RGB", (8, 8)).save(folder / f"{index}.png")
        >>> print(ManifestDataModule(folder / "photos.csv").summary())
        photos: 8 train, 2 val, 2 classes (ants 4, bees 4)
    """

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
        batch_size: int = 32,
        num_workers: int | None = None,
        preprocessing: Preprocessing = "backbone",
        augmentation: Augmentation = "none",
        random_erasing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        broken_files: Literal["stop", "skip"] = "stop",
        seed: int = 0,
        val_fraction: float = 0.2,
        data_config: dict[str, Any] | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            num_workers=num_workers,
            preprocessing=preprocessing,
            augmentation=augmentation,
            random_erasing=random_erasing,
            mixup=mixup,
            cutmix=cutmix,
            broken_files=broken_files,
            seed=seed,
            val_fraction=val_fraction,
            data_config=data_config,
            class_names=class_names,
        )
        self.fractions = {"val": val_fraction}
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

    @property
    def place(self) -> str:
        """The table, for messages."""
        return f"'{self.manifest}'"

    def remedy(self, part: Part) -> str:
        """See `ImageDataModule`."""
        return _REMEDIES[part]

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`. The classes of the training rows, or of all if there are none."""
        training = [row for row in self._rows if row.part in (WHOLE, "train")] or self._rows
        check_labels(training, place=self.place)
        return sort_classes({row.label for row in training})

    def find_splits(self) -> Splits:
        """See `ImageDataModule`."""
        check_labels(self._rows, place=self.place)
        parts: dict[str, list[Row]] = {}
        for row in self._readable_rows():
            parts.setdefault(row.part, []).append(row)
        check_groups(parts, place=self.place)
        for part, rows in parts.items():
            names = sort_classes({row.label for row in rows})
            check_class_names(names, self.class_names, place=self.place, part=part)
        if WHOLE in parts:
            parts |= self._split(parts.pop(WHOLE), self.fractions)
        elif "train" in parts:
            fractions = {} if "val" in parts else {"val": self.val_fraction}
            parts |= self._split(parts.pop("train"), fractions)
        return Splits(**{part: self._samples(rows) for part, rows in parts.items()})

    def find_unlabeled(self) -> Samples:
        """Return the photos of all rows, in order."""
        return Samples([row.path for row in self._readable_rows()])

    def known_labels(self) -> dict[str, str]:
        """See `ImageDataModule`: those of all rows that have one."""
        return {row.path: row.label for row in self._rows if row.label}

    @functools.cached_property
    def _rows(self) -> list[Row]:
        return make_rows(read_table(self.manifest), self.root, self.columns, place=self.place)

    def _readable_rows(self) -> list[Row]:
        if self.broken_files == "stop":
            check_files(self._rows, place=self.place)
            return self._rows
        kept = set(self.without_broken([row.path for row in self._rows]))
        return [row for row in self._rows if row.path in kept]

    def _split(self, rows: list[Row], fractions: dict[str, float]) -> dict[str, list[Row]]:
        counts = Counter(row.label for row in rows)
        parts = ["train"] if rows[0].group else ["train", *fractions]
        check_class_sizes(counts, place=self.place, parts=parts, expected=self.class_names)
        return split_rows(rows, fractions, seed=self.seed) if fractions else {"train": rows}

    def _samples(self, rows: Sequence[Row]) -> Samples:
        labels = relabel([row.label for row in rows], self.class_names)
        groups = [row.group for row in rows] if all(row.group for row in rows) else None
        return Samples([row.path for row in rows], labels, groups)
