"""Datamodule of data sets of Hugging Face ``datasets`` that lie on the disk."""

import functools
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from tltool._lookup import lookup
from tltool._objective import SEPARATOR
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.label_cells import found_classes
from tltool.data.datamodules.records import ImageRecord
from tltool.data.datamodules.shared_options import FileOptions, Unpack
from tltool.data.files.decoding import decode_image
from tltool.data.files.hf_columns import (
    class_order,
    find_image_column,
    find_label_column,
    label_texts,
)
from tltool.data.files.hf_folder import known_splits, open_hf_folder
from tltool.data.files.image_sources import ImageSource
from tltool.data.loading.in_memory import InMemoryDecoder
from tltool.data.loading.samples import Samples

_warn = rank_zero_only(logging.getLogger(__name__).warning)


class HFDataModule(ImageDataModule):
    """A data set of Hugging Face ``datasets`` on disk, with its own splits and without a network.

    ``root`` is what ``save_to_disk`` wrote, with one split or several, or a folder of Parquet files
    as repositories of the hub have them. Splits are called train, validation (``val``, ``valid``)
    and test; without one to validate, the training images are split by ``seed``. Images are decoded
    from their bytes as files are. To predict, no labels are needed, and all rows are read.

    Args:
        root: The folder.
        image_column: Name of the column with the images; ``None`` if there is only one.
        label_column: Name of the column with the class, the classes or the number; ``None`` for the
            only one of class labels, or the one that is called label, labels, class or target.
            Classes are in the order of the class labels, or sorted by name.
        group_column: Name of the column with the group, such as a patient, if there is one: no
            group is ever on two sides.
        test_fraction: Share of the images that tests where the data has no splits; 0 for none.
    """

    remedies: ClassVar = {
        "train": "Call a split train.",
        "val": "Call a split validation, or give training images a label.",
        "test": "Call a split test, or set --data.test_fraction 0.15 where there are no splits.",
    }

    def __init__(
        self,
        root: str | Path,
        *,
        image_column: str | None = None,
        label_column: str | None = None,
        group_column: str | None = None,
        test_fraction: float = 0.0,
        **options: Unpack[FileOptions],
    ) -> None:
        super().__init__(**options)
        self.root = Path(os.path.expanduser(root))
        self.image_column, self.label_column = image_column, label_column
        self.group_column = group_column
        self.target_name = label_column or "target"
        name = self.root.resolve().name
        self.set_source(name, f"'{self.root}'", test_fraction=test_fraction)

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`. The classes that an image has, in the order of class labels."""
        self.check_labels()
        found = found_classes([record.label for record in self.records], self.objective)
        declared = class_order(self._features[str(self._label_column)])
        return [name for name in declared if name in found] or found

    def check_labels(self) -> None:
        """See `ImageDataModule`."""
        if self._label_column is None:
            raise ValueError(
                f"{self.place} has no column with labels; it has {', '.join(self._features)}. Set "
                "--data.label_column to the column with the classes."
            )
        super().check_labels()

    def find_records(self) -> list[ImageRecord]:
        """See `ImageDataModule`. A split without any label, as of a contest, is to predict alone.

        Where no split has labels, all are returned.
        """
        labeled = {record.split for record in self._rows if record.label}
        unlabeled = {record.split for record in self._rows} - labeled
        if labeled and unlabeled:
            _warn("No image of %s in %s has a label: left out.", sorted(unlabeled), self.place)
        return [record for record in self._rows if record.split in (labeled or unlabeled)]

    def find_unlabeled(self) -> Samples:
        """Return the images of all rows, in order."""
        return Samples(self.without_broken([row.path for row in self._rows]))

    def known_labels(self) -> dict[str, str]:
        """See `ImageDataModule`: those of all rows that have one."""
        return {row.path: row.label for row in self._rows if row.label}

    @functools.cached_property
    def decoder(self) -> InMemoryDecoder:
        """See `ImageDataModule`."""
        images = {
            f"{self.name}/{split}": StoredImages(self._tables[split], self._image_column)
            for split in self._splits
        }
        return StoredImageDecoder(images)

    @functools.cached_property
    def _rows(self) -> list[ImageRecord]:
        """The record of each row, known by its split and number."""
        _ = self._image_column  # Without images there is nothing to count.
        return [
            ImageRecord(f"{self.name}/{own}/{number:06}", f"{own}/{number:06}", label, split, group)
            for own, split in self._splits.items()
            for number, (label, group) in enumerate(self._cells(self._tables[own]))
        ]

    def _cells(self, table: Any) -> Iterator[tuple[str, str]]:
        """Return label and group of each row of a split."""
        labels = groups = [""] * len(table)
        if self._label_column is not None:
            feature = lookup(table.features, self._label_column, kind=f"column of {self.place}")
            labels = label_texts(feature, table[self._label_column], SEPARATOR)
        if self.group_column is not None:
            lookup(table.features, self.group_column, kind=f"column of {self.place}")
            groups = ["" if cell is None else str(cell) for cell in table[self.group_column]]
        return zip(labels, groups, strict=True)

    @functools.cached_property
    def _image_column(self) -> str:
        return find_image_column(self._features, self.image_column, place=self.place)

    @functools.cached_property
    def _label_column(self) -> str | None:
        return find_label_column(self._features, self.label_column, place=self.place)

    @property
    def _features(self) -> Mapping[str, Any]:
        features: Mapping[str, Any] = next(iter(self._tables.values())).features
        return features

    @functools.cached_property
    def _splits(self) -> dict[str, str]:
        found = known_splits(self._tables, place=self.place)
        others = [name for name in self._tables if name not in found]
        if others:
            _warn("Left out splits of %s that are none to learn from: %s.", self.place, others)
        return found

    @functools.cached_property
    def _tables(self) -> dict[str, Any]:
        return open_hf_folder(self.root)


class StoredImages:
    """The images in a column, encoded as they were stored, by number.

    Args:
        table: A ``datasets.Dataset``.
        column: The name of the column.
    """

    def __init__(self, table: Any, column: str) -> None:
        feature = table.features[column]
        if hasattr(feature, "decode"):  # Its bytes, for tltool decodes images alike.
            table = table.cast_column(column, type(feature)(decode=False))
        self.table = table.select_columns([column])
        self.column = column

    def __getitem__(self, number: int) -> tuple[bytes | str]:
        """Return the bytes of an image, or the path of its file, as the only member of a tuple."""
        cell = self.table[number][self.column]
        if isinstance(cell, Mapping):
            cell = cell["bytes"] or cell.get("path")
        return (b"" if cell is None else cell,)


class StoredImageDecoder(InMemoryDecoder):
    """An `InMemoryDecoder` of stored bytes, whose errors name the image."""

    def read(self, path: str, image: ImageSource, **options: Any) -> Image.Image:
        """Return what is stored under a name as an image, see `decode_image`."""
        if isinstance(image, bytes):
            return decode_image(path, content=image, **options)
        return decode_image(str(image), **options)
