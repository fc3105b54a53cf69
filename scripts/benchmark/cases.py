"""Cases for judging the advice: four data sets, from 10 to 100 training images a class."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fashion_mnist
import torch
from results import FOLDER

from tltool.data.datamodules.digits import DigitsDataModule
from tltool.data.datamodules.elpv import ELPVDataModule
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.datamodules.stratified_split import split_stratified
from tltool.data.loading.samples import Samples, Splits

NUM_CHOOSING = 200
NUM_TEST = 600
STEPS = 60
BATCH = 32


@dataclass(frozen=True)
class Case:
    """A data set and how many images of each class train.

    Args:
        data: ``elpv``, ``digits``, ``fashion-mnist``, or a folder with ``train`` and ``val``.
        per_class: Training images of each class; ``None`` for all.
    """

    data: str
    per_class: int | None = None

    @property
    def name(self) -> str:
        """The data set, and how many images of each class."""
        return Path(self.data).name + (f"-{self.per_class}" if self.per_class else "")

    def make_data(self, data_config: dict[str, Any], *, seed: int) -> ImageDataModule:
        """Return the data, with another draw of the training images for each seed.

        The validation images choose learning rates; the test images choose nothing.
        """
        data = _make(self.data, data_config)
        splits = _splits_of(self.data)
        assert splits.train is not None  # noqa: S101  # every data set here has it
        data.splits = Splits(
            train=draw(splits.train, self.per_class, seed=seed), val=splits.val, test=splits.test
        )
        data.batch_size = min(BATCH, len(data.samples("train")))
        return data

    def choosing(self, data_config: dict[str, Any], *, seed: int) -> ImageDataModule:
        """Return the data with the validation images in the place of the test images."""
        data = self.make_data(data_config, seed=seed)
        data.splits = Splits(train=data.splits.train, val=data.splits.val, test=data.splits.val)
        return data

    def max_epochs(self) -> int:
        """Return the number of epochs that make at least 60 steps."""
        data = self.make_data({}, seed=0)
        steps_per_epoch = -(-len(data.samples("train")) // data.batch_size)
        return -(-STEPS // steps_per_epoch)


def draw(samples: Samples, per_class: int | None, *, seed: int) -> Samples:
    """Return so many images of each class at random, in their order."""
    if per_class is None:
        return samples
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed)).tolist()
    taken: dict[int, list[int]] = defaultdict(list)
    for index in order:
        members = taken[(samples.labels or [])[index]]
        if len(members) < per_class:
            members.append(index)
    return samples.subset(sorted(index for members in taken.values() for index in members))


def _make(data: str, data_config: dict[str, Any]) -> ImageDataModule:
    options: dict[str, Any] = {"num_workers": 0, "data_config": data_config, "batch_size": BATCH}
    if data == "elpv":
        return ELPVDataModule(test_fraction=0.3, **options)
    if data == "digits":
        return DigitsDataModule(test_fraction=0.35, **options)
    return ImageFolderDataModule(_fashion() if data == "fashion-mnist" else data, **options)


@functools.cache
def _splits_of(data: str) -> Splits:
    splits = _make(data, {}).splits
    train, val, test = splits.train, splits.val, splits.test
    assert train is not None and val is not None  # noqa: S101, PT018  # every data set here has them
    if test is None:  # The validation images test, and a fifth of the training images chooses.
        names = [Path(path).name for path in train.paths]
        drawn = split_stratified(names, train.labels or [], {"val": 0.2}, seed=0)
        val, test, train = train.subset(drawn["val"]), val, train.subset(drawn["train"])
    return Splits(train=train, val=_at_most(val, NUM_CHOOSING), test=_at_most(test, NUM_TEST))


def _at_most(samples: Samples, number: int) -> Samples:
    """Return a random part of the images if there are more."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    return samples.subset(sorted(order[:number].tolist()))


def _fashion() -> Path:
    """Write images of Fashion-MNIST into folders, once."""
    folder = FOLDER / "fashion-mnist"
    if not (folder / "whole").is_file():
        for source, shares in (("train", {"train": 100, "val": 20}), ("t10k", {"test": 60})):
            _write(folder, source, shares)
        (folder / "whole").touch()
    return folder


def _write(folder: Path, source: str, shares: dict[str, int]) -> None:
    """Write the first images of each class, so many into each split."""
    splits: Sequence[str] = [split for split, number in shares.items() for _ in range(number)]
    counts: dict[str, int] = defaultdict(int)
    for name, label, image in fashion_mnist.images_of(source):
        if counts[label] == len(splits):
            continue
        path = folder / splits[counts[label]] / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        counts[label] += 1
