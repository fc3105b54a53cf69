"""What every datamodule shares: checks, loaders, and one line that says what was found."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.fabric.utilities import suggested_max_num_workers
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader, Sampler

from tltool.data.batch_size import per_device_batch_size
from tltool.data.broken import describe_broken, find_broken
from tltool.data.dataset import ImageDataset, Samples, collate
from tltool.data.sampler import ShuffledSampler
from tltool.data.split import check_fraction
from tltool.data.transforms import Augmentation, ImageTransform

log = logging.getLogger(__name__)

Part = Literal["train", "val", "test"]

_REMEDIES = {
    "train": "Give a folder with one folder of photos for each class, or with train/ and val/.",
    "val": "Put them into a folder val/<class>/, beside train/.",
    "test": "Put them into a folder test/<class>/, or use `tltool validate`.",
}


@dataclass(frozen=True)
class Splits:
    """The photos of each part; ``None`` where the data has no such part."""

    train: Samples | None = None
    val: Samples | None = None
    test: Samples | None = None


class ImageDataModule(LightningDataModule):
    """Base of the datamodules. A child says what there is: `find_classes` and `find_splits`.

    A batch is a dict of ``images`` (B, C, H, W), ``labels`` (B,) where they are known, and
    ``paths``. The last training batch may be smaller. Order and augmentation depend on the seed of
    ``seed_everything``, not on the number of workers or devices.

    Args:
        batch_size: Number of photos in a step, over all devices: each takes its share.
        num_workers: Number of processes that decode, for each device; ``None`` takes one less than
            its share of the CPU cores, at most 8, and 0 decodes in the main process.
        augmentation: Random changes of the training photos, see `ImageTransform`. With ``none`` a
            frozen backbone sees a photo always the same, so its features are computed only once.
        broken_files: ``stop`` with an error that names the file, or ``skip``: decode all files
            once, before the split, and leave the broken ones out.
        seed: Seed of the split.
        val_fraction: Share of the training photos that validates, in ``(0, 1)``, where the data has
            no validation part.
        data_config: The backbone's own preprocessing, see `ImageTransform`. The command line fills
            it in.
        class_names: The classes in the order of the labels, such as those of a checkpoint; ``None``
            takes those of the data in alphabetical order.
    """

    def __init__(
        self,
        *,
        batch_size: int = 32,
        num_workers: int | None = None,
        augmentation: Augmentation = "none",
        broken_files: Literal["stop", "skip"] = "stop",
        seed: int = 0,
        val_fraction: float = 0.2,
        data_config: dict[str, Any] | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__()
        check_fraction(val_fraction, name="val_fraction")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augmentation: Augmentation = augmentation
        self.broken_files = broken_files
        self.seed = seed
        self.val_fraction = val_fraction
        self.data_config = data_config
        self.given_class_names = class_names

    def find_classes(self) -> list[str]:
        """Return the names of the classes of the data, in the order of the labels."""
        raise NotImplementedError

    def find_splits(self) -> Splits:
        """Return the photos of each part, labels as indices into `class_names`."""
        raise NotImplementedError

    def find_unlabeled(self) -> Samples:
        """Return the photos to predict."""
        parts = (self.splits.test, self.splits.val, self.splits.train)
        return Samples(next(part for part in parts if part is not None).paths)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the labels."""
        return list(self.given_class_names or self._found_classes)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def train_class_counts(self) -> list[int]:
        """The number of training photos of each class."""
        return self.samples("train").class_counts(self.num_classes)

    @functools.cached_property
    def splits(self) -> Splits:
        """The photos of each part, looked up once."""
        return self.find_splits()

    @functools.cached_property
    def _found_classes(self) -> list[str]:
        return self.find_classes()

    def samples(self, part: Part) -> Samples:
        """Return the photos of one part, or raise an error that says where to put them."""
        samples: Samples | None = getattr(self.splits, part)
        if samples is None or not samples:
            raise ValueError(f"{self.place} has no photos for {_PURPOSES[part]}. {_REMEDIES[part]}")
        return samples

    def without_broken(self, paths: list[str]) -> list[str]:
        """Return the paths that can be decoded, or all if broken files are to stop the run."""
        if self.broken_files == "stop":
            return paths
        broken = find_broken(paths, show_progress=self._is_rank_zero)
        if broken:
            self.warn("%s", describe_broken(broken, len(paths)))
        return [path for path in paths if path not in set(broken)]

    def warn(self, message: str, *args: object) -> None:
        """Log a warning, on the first of the ranks only."""
        if self._is_rank_zero:
            log.warning(message, *args)

    @property
    def place(self) -> str:
        """Where the data lies, for messages."""
        return type(self).__name__

    def summary(self) -> str:
        """Return one line that says how many photos of which classes there are.

        ``photos: 244 train, 153 val, 2 classes (ants 123, bees 121)``
        """
        parts = {"train": self.splits.train, "val": self.splits.val, "test": self.splits.test}
        sizes = ", ".join(f"{len(samples)} {name}" for name, samples in parts.items() if samples)
        return f"photos: {sizes}, {self.num_classes} classes ({self._describe_classes()})"

    def _describe_classes(self) -> str:
        known = self.splits.train or self.splits.val or self.splits.test
        counts = known.class_counts(self.num_classes) if known else [0] * self.num_classes
        if self.num_classes > 6:
            return f"{min(counts)} to {max(counts)} photos each"
        return ", ".join(
            f"{name} {count}" for name, count in zip(self.class_names, counts, strict=True)
        )

    def setup(self, stage: str) -> None:
        """Look the photos up and check what this stage needs."""
        needed: dict[str, tuple[Part, ...]] = {
            "fit": ("train", "val"),
            "validate": ("val",),
            "test": ("test",),
        }
        for part in needed.get(stage, ()):
            self.samples(part)
        if stage == "fit":
            self._check_batch_size()
        if stage != "predict" and self._is_rank_zero:
            log.info(self.summary())

    def dataset(self, part: Part | Literal["predict"], *, augment: bool = False) -> ImageDataset:
        """Return the photos of one part as a dataset, augmented or as in evaluation."""
        samples = self.find_unlabeled() if part == "predict" else self.samples(part)
        return ImageDataset(samples, self.transform(augment=augment))

    def transform(self, *, augment: bool = False) -> ImageTransform:
        """Return the transform from image to tensor."""
        if self.data_config is None:
            raise ValueError(
                "The preprocessing is not known: `data_config` is None. Pass that of the backbone: "
                f"{type(self).__name__}(..., data_config=backbone.data_config)."
            )
        return ImageTransform(
            self.data_config, augmentation=self.augmentation if augment else "none"
        )

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the loader of the training photos, shuffled anew in each epoch."""
        self._check_batch_size()
        dataset = self.dataset("train", augment=True)
        sampler = ShuffledSampler(
            dataset,
            seed=self._shuffle_seed(),
            world_size=self._world_size,
            rank=self.trainer.global_rank if self.trainer else 0,
        )
        return self._loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the loader of the validation photos, in order."""
        return self._loader(self.dataset("val"))

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the loader of the test photos, in order."""
        return self._loader(self.dataset("test"))

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the loader of the photos to predict, in order and without labels."""
        return self._loader(self.dataset("predict"))

    def _loader(
        self, dataset: ImageDataset, sampler: Sampler[Any] | None = None
    ) -> DataLoader[dict[str, Any]]:
        num_workers = self._resolve_num_workers()
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return DataLoader(
            dataset,
            batch_size=per_device_batch_size(self.batch_size, self._world_size),
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=collate,
            persistent_workers=num_workers > 0,
            pin_memory=on_gpu,
        )

    def _shuffle_seed(self) -> int:
        # Without `seed_everything` each rank has a seed of its own, and photos would be seen twice.
        seed = torch.initial_seed() % 2**63
        return self.trainer.strategy.broadcast(seed) if self.trainer else seed

    def _resolve_num_workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        return min(8, suggested_max_num_workers(self.trainer.num_devices if self.trainer else 1))

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @property
    def _is_rank_zero(self) -> bool:
        return getattr(rank_zero_only, "rank", 0) == 0

    def _check_batch_size(self) -> None:
        num_photos = len(self.samples("train"))
        if self.batch_size > num_photos:
            raise ValueError(
                f"The batch size {self.batch_size} is larger than the {num_photos} training "
                f"photos. Set --data.batch_size {_power_of_two_below(num_photos)}."
            )


_PURPOSES = {"train": "training", "val": "validation", "test": "testing"}


def _power_of_two_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)


def relabel(labels: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Return class names as indices into ``class_names``."""
    index = {name: position for position, name in enumerate(class_names)}
    return [index[label] for label in labels]
