"""The data sets that torchvision knows by name."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from torchvision import datasets

from tltool._lookup import lookup
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.records import ImageRecord, number_records
from tltool.data.datamodules.shared_options import SharedOptions, Unpack
from tltool.data.datamodules.stratified_split import check_fractions
from tltool.data.files.folder_layout import WHOLE
from tltool.data.loading.in_memory import InMemoryDecoder

DatasetName = Literal[
    "MNIST",
    "FashionMNIST",
    "KMNIST",
    "CIFAR10",
    "CIFAR100",
    "STL10",
    "SVHN",
    "GTSRB",
    "EuroSAT",
    "DTD",
    "FGVCAircraft",
    "Flowers102",
    "Food101",
    "OxfordIIITPet",
    "Imagenette",
    "Country211",
]


@dataclass(frozen=True)
class TorchvisionSource:
    """How torchvision hands out a data set.

    Attributes:
        splits: The arguments that choose each split; the split `WHOLE` is all there is.
        labels: The attribute that holds the labels, or pairs of file and label.
        num_classes: The number of classes, where torchvision does not name them.
    """

    splits: Mapping[str, Mapping[str, Any]]
    labels: str = "_labels"
    num_classes: int = 0


def _by_flag(labels: str) -> TorchvisionSource:
    return TorchvisionSource({"train": {"train": True}, "test": {"train": False}}, labels)


def _by_split(labels: str = "_labels", num_classes: int = 0, **splits: str) -> TorchvisionSource:
    chosen = {split: {"split": theirs} for split, theirs in splits.items()}
    return TorchvisionSource(chosen, labels, num_classes)


TORCHVISION_DATASETS: dict[str, TorchvisionSource] = {
    "MNIST": _by_flag("targets"),
    "FashionMNIST": _by_flag("targets"),
    "KMNIST": _by_flag("targets"),
    "CIFAR10": _by_flag("targets"),
    "CIFAR100": _by_flag("targets"),
    "STL10": _by_split("labels", train="train", test="test"),
    "SVHN": _by_split("labels", 10, train="train", test="test"),
    "GTSRB": _by_split("_samples", 43, train="train", test="test"),
    "EuroSAT": TorchvisionSource({WHOLE: {}}, "targets"),
    "DTD": _by_split(train="train", val="val", test="test"),
    "FGVCAircraft": _by_split(train="train", val="val", test="test"),
    "Flowers102": _by_split(train="train", val="val", test="test"),
    "Food101": _by_split(train="train", test="test"),
    "OxfordIIITPet": _by_split(train="trainval", test="test"),
    "Imagenette": TorchvisionSource(
        {split: {"split": split, "size": "320px"} for split in ("train", "val")}, "_samples"
    ),
    "Country211": _by_split("targets", train="train", val="valid", test="test"),
}
"""The data sets by name. Where there is no validation split, training images are split."""


class TorchvisionDataModule(ImageDataModule):
    """A data set that torchvision knows by name, such as ``CIFAR10`` or ``OxfordIIITPet``.

    Its own splits are kept. Without a validation split the training images are split by ``seed``.
    Mind the licenses: many of these images are for research only.

    Args:
        name: Its name in torchvision.
        root: The folder that it lies in, or is downloaded to.
        download: Whether to download what is missing.
        test_fraction: Share of the images that tests where the data set has no splits (EuroSAT).
    """

    def __init__(
        self,
        name: DatasetName,
        root: str | Path = "data",
        *,
        download: bool = False,
        test_fraction: float = 0.15,
        **options: Unpack[SharedOptions],
    ) -> None:
        super().__init__(broken_files="stop", **options)  # torchvision reads them.
        self.spec = lookup(TORCHVISION_DATASETS, name, kind="data set of torchvision")
        self.fractions["test"] = test_fraction
        check_fractions(self.fractions)
        self.root = Path(root).expanduser()
        self.download = download
        self.name = name
        self.place = name

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`. The names that torchvision gives, or numbers."""
        if self.spec.num_classes:
            return [str(number) for number in range(self.spec.num_classes)]
        names = next(iter(self._sources.values())).classes
        return [name if isinstance(name, str) else name[0] for name in names]

    def find_records(self) -> list[ImageRecord]:
        """See `ImageDataModule`."""
        names, records = self.find_classes(), []
        for split, source in self._sources.items():
            stored = getattr(source, self.spec.labels)
            labels = [entry[-1] if isinstance(entry, tuple) else entry for entry in stored]
            named = [names[int(label)] for label in labels]
            records += number_records(self._prefix(split), named, split)
        return records

    @property
    def decoder(self) -> InMemoryDecoder:
        """See `ImageDataModule`."""
        named = ((self._prefix(split), source) for split, source in self._sources.items())
        return InMemoryDecoder(dict(named))

    def _prefix(self, split: str) -> str:
        return f"{self.name}/{split}"

    @functools.cached_property
    def _sources(self) -> dict[str, Any]:
        if self.download:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f".{self.name}.lock"):  # Else all ranks would.
                self._open(download=True)
        try:
            return self._open(download=False)
        except RuntimeError as error:
            raise FileNotFoundError(
                f"{self.name} is not in '{self.root}'. Set --data.download true, or set "
                "--data.root to the folder that it lies in."
            ) from error

    def _open(self, *, download: bool) -> dict[str, Any]:
        dataset = getattr(datasets, self.place)
        return {
            split: dataset(root=str(self.root), download=download, **arguments)
            for split, arguments in self.spec.splits.items()
        }
