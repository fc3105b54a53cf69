"""Datamodule of the data sets that torchvision knows by name, such as CIFAR10."""

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from filelock import FileLock
from torchvision import datasets

from tltool._lookup import lookup
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.records import ImageRecord, number_records
from tltool.data.datamodules.shared_options import SharedOptions, Unpack
from tltool.data.loading.in_memory import InMemoryDecoder


class TorchvisionSource(NamedTuple):
    """How torchvision hands out a data set.

    Attributes:
        splits: The arguments that choose each split; the split ``all`` is all there is.
        labels: The attribute that holds the labels, or pairs of file and label.
        num_classes: The number of classes, where torchvision does not name them.
    """

    splits: Mapping[str, Mapping[str, Any]]
    labels: str
    num_classes: int = 0


TORCHVISION_DATASETS = {
    name: TorchvisionSource(**facts)
    for name, facts in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")).items()
}
"""The data sets by name. Where there is no validation split, training images are split."""


class TorchvisionDataModule(ImageDataModule):
    """A data set that torchvision knows by name, such as ``CIFAR10`` or ``OxfordIIITPet``.

    Its own splits are kept. Without a validation split the training images are split by ``seed``.
    Mind the licenses: many of these images are for research only.

    Args:
        name: Its name in torchvision: MNIST, FashionMNIST, KMNIST, CIFAR10, CIFAR100, STL10, SVHN,
            GTSRB, EuroSAT, DTD, FGVCAircraft, Flowers102, Food101, OxfordIIITPet, Imagenette or
            Country211.
        root: The folder that it lies in, or is downloaded to.
        download: Whether to download what is missing.
        test_fraction: Share of the images that tests where the data set has no splits (EuroSAT).
    """

    objectives: ClassVar = ("single_label",)

    def __init__(
        self,
        name: str,
        root: str | Path = "data",
        *,
        download: bool = False,
        test_fraction: float = 0.15,
        **options: Unpack[SharedOptions],
    ) -> None:
        super().__init__(broken_files="stop", **options)  # torchvision reads them.
        self.spec = lookup(TORCHVISION_DATASETS, name, kind="data set of torchvision")
        self.root = Path(root).expanduser()
        self.download = download
        self.set_source(name, name, test_fraction=test_fraction)

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
            records += number_records(f"{self.place}/{split}", named, split)
        return records

    @property
    def decoder(self) -> InMemoryDecoder:
        """See `ImageDataModule`."""
        sources = self._sources.items()
        return InMemoryDecoder({f"{self.place}/{split}": source for split, source in sources})

    @functools.cached_property
    def _sources(self) -> dict[str, Any]:
        opened = functools.partial(getattr(datasets, self.place), root=str(self.root))
        if self.download:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f".{self.place}.lock"):  # Else all ranks would.
                for chosen in self.spec.splits.values():
                    opened(download=True, **chosen)
        try:
            return {split: opened(**chosen) for split, chosen in self.spec.splits.items()}
        except RuntimeError as error:
            raise FileNotFoundError(
                f"{self.place} is not in '{self.root}'. Set --data.download true, or set "
                "--data.root to the folder that it lies in."
            ) from error
