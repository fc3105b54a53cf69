"""Images of a datamodule: their records, classes, and splits."""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, get_args

from lightning.pytorch.utilities import rank_zero_only

from tltool._objective import Objective
from tltool.data.datamodules.label_cells import check_cells
from tltool.data.datamodules.record_splits import make_splits
from tltool.data.datamodules.records import ImageRecord
from tltool.data.datamodules.stratified_split import check_fractions
from tltool.data.files.decoding import decode_image, is_readable
from tltool.data.files.decoding_threads import map_in_threads
from tltool.data.files.natural_order import look_alikes
from tltool.data.loading.class_balance import Sampling
from tltool.data.loading.image_dataset import Decoder
from tltool.data.loading.labels import Label, TargetStats
from tltool.data.loading.samples import Samples, Splits

_warn = rank_zero_only(logging.getLogger(__name__).warning)

SplitName = Literal["train", "val", "test"]

_PURPOSES = {"train": "training", "val": "validation", "test": "testing"}


class LabeledImages:
    """What images there are: the part of `ImageDataModule` that needs no pixel.

    `ImageDataModule` has the options, and sets them.
    """

    remedies: ClassVar[Mapping[str, str]] = {}
    """What to do where a split is missing: a sentence for each, for an error."""

    objectives: ClassVar[tuple[Objective, ...]] = get_args(Objective)
    """What such data can have labels for."""

    target_name: str = "target"
    """The name of the number that a regression learns."""

    objective: Objective
    broken_files: Literal["stop", "skip"]
    sampling: Sampling
    seed: int
    val_fraction: float
    tuning_fraction: float | None
    given_class_names: list[str] | None

    def set_source(self, name: str | None, place: str, *, test_fraction: float = 0.0) -> None:
        """Set the name of the data, where they lie, and how they are split.

        Args:
            name: For the run directory.
            place: For messages.
            test_fraction: Share of the images that tests where the data have no splits, or 0.
        """
        self.name = name
        self.place = place
        tests = {"test": test_fraction} if test_fraction else {}
        self.fractions = {"val": self.val_fraction} | tests
        check_fractions(self.fractions)

    def find_classes(self) -> list[str]:
        """Return the names of the classes of the data, in the order of the labels."""
        raise NotImplementedError(f"{type(self).__name__} must define `find_classes()`.")

    def find_records(self) -> list[ImageRecord]:
        """Return the record of each image."""
        raise NotImplementedError(f"{type(self).__name__} must define `find_records()`.")

    def find_splits(self) -> Splits:
        """Return the images of each split, labels as indices into `class_names`."""
        self.check_labels()
        records, found = self.readable_records(), self._found_classes
        splits = make_splits(
            records,
            found,
            self.class_names,
            self.fractions,
            place=self.place,
            seed=self.seed,
            tuning=self.tuning_fraction or 0.0,
            objective=self.objective,
        )
        for split, missing in splits.missing_classes(self.class_names).items():
            _warn("The %s images in %s have none of: %s.", split, self.place, missing)
        for names in look_alikes(self.class_names):
            _warn("Names in %s that may be one class, or mean two: %s.", self.place, names)
        return splits

    def check_labels(self) -> None:
        """Raise if an image has no label, or one that is not of the objective."""
        self._check_objective()
        names = [record.name for record in self.records]
        # Where only one class is possible, any text is its name.
        are_given = self.given_class_names is not None or len(self.objectives) == 1
        cells = [record.label for record in self.records]
        check_cells(cells, names, self.objective, place=self.place, are_given=are_given)

    def _check_objective(self) -> None:
        if self.objective not in self.objectives:
            raise ValueError(
                f"{self.place} has one class for each image, and the objective is "
                f"{self.objective}. Write a manifest, a table with a row for each image (columns "
                "path and label), and set --data.manifest FILE; or set --model.objective "
                f"{self.objectives[0]}."
            )

    def readable_records(self) -> list[ImageRecord]:
        """Return the records whose images can be decoded, or all if broken files stop the run."""
        kept = set(self.without_broken([record.path for record in self.records]))
        return [record for record in self.records if record.path in kept]

    def find_unlabeled(self) -> Samples:
        """Return the images to predict."""
        return Samples(list(self.splits.by_name().values())[-1].paths)

    @functools.cached_property
    def unlabeled(self) -> Samples:
        """The images to predict, looked up once: what is added meanwhile would move the others."""
        return self.find_unlabeled()

    def known_labels(self) -> dict[str, str]:
        """Return the label of each image, by path, where the data says it."""
        return self.splits.known_labels(self.class_names)

    @property
    def decoder(self) -> Decoder:
        """What turns a path into an image."""
        return decode_image

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
        """The number of training images of each class; of a regression that of all."""
        return self.samples("train").class_counts(self.num_classes)

    @property
    def target_stats(self) -> TargetStats | None:
        """Mean, deviation and levels of the training targets; ``None`` but for a regression."""
        if self.objective != "regression":
            return None
        return TargetStats.of(self.samples("train").labels or [])

    @property
    def drawn_class_counts(self) -> list[int]:
        """The number of training images of each class in an epoch, but for what is left over."""
        counts = self.train_class_counts
        if self.sampling == "shuffled":
            return counts
        return [max(sum(counts) // len(counts), 1)] * len(counts)

    def labels_to_balance(self) -> Sequence[Label] | None:
        """Return the labels that class-balanced sampling draws by; ``None`` where it is off.

        Raises:
            ValueError: If it is on, and a class has no training images.
        """
        if self.sampling == "shuffled":
            return None
        missing = self.splits.missing_classes(self.class_names).get("train")
        if missing:
            raise ValueError(
                f"Class-balanced sampling draws each class equally often, and {self.place} has no "
                f"training images of: {missing}. Add some, leave the class out, or set "
                "--data.sampling shuffled."
            )
        return self.samples("train").labels

    @functools.cached_property
    def splits(self) -> Splits:
        """The images of each split, looked up once."""
        return self.find_splits()

    @functools.cached_property
    def records(self) -> list[ImageRecord]:
        """The record of each image, looked up once."""
        return self.find_records()

    @functools.cached_property
    def _found_classes(self) -> list[str]:
        self._check_objective()
        if self.objective == "regression":
            return [self.target_name]
        return self.find_classes()

    def samples(self, split: SplitName) -> Samples:
        """Return the images of one split, or raise an error that says where to put them."""
        samples = self.splits.by_name().get(split)
        if not samples:
            remedy = self.remedies.get(split, "Choose data that has it.")
            raise ValueError(f"{self.place} has no images for {_PURPOSES[split]}. {remedy}")
        return samples

    def without_broken(self, paths: list[str]) -> list[str]:
        """Return the paths that can be decoded, or all if broken files are to stop the run."""
        if self.broken_files == "stop":
            return paths
        what, show = "Looking for broken images", self._is_rank_zero
        results = map_in_threads(is_readable, paths, description=what, show_progress=show)
        readable = dict(zip(paths, results, strict=True))
        broken = [path for path in paths if not readable[path]]
        if broken:
            message = "Left out %d of %d images that cannot be read: %s%s."
            more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
            _warn(message, len(broken), len(paths), ", ".join(broken[:3]), more)
        return [path for path in paths if readable[path]]

    def summary(self) -> str:
        """Return one line on the images of each split and class, see `Splits.describe`."""
        return self.splits.describe(self.class_names)

    @property
    def _is_rank_zero(self) -> bool:
        return getattr(rank_zero_only, "rank", 0) == 0
