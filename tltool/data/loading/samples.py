"""Samples (paths, labels, groups) and the splits train, val and test."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.data.loading.labels import Label, count_classes, label_text

_NAMED = 6  # classes that a line has room for
_LISTED = 20  # classes that a message names


@dataclass(frozen=True)
class Samples:
    """Images by name, each with its label, or without labels.

    Example:
        >>> samples = Samples(["a.jpg", "b.jpg", "c.jpg"], [0, 1, 1])
        >>> len(samples), samples.class_counts(3)
        (3, [1, 2, 0])
    """

    paths: Sequence[str]
    labels: Sequence[Label] | None = None
    """See `Label`."""
    groups: Sequence[str] | None = None
    """What each image belongs to, such as a patient, where the data says it."""

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, indices: Sequence[int]) -> "Samples":
        """Return the samples at these indices, in this order."""
        labels = self.labels and [self.labels[index] for index in indices]
        groups = self.groups and [self.groups[index] for index in indices]
        return Samples([self.paths[index] for index in indices], labels, groups)

    def class_counts(self, num_classes: int) -> list[int]:
        """Return the number of images of each class."""
        return count_classes(self.labels or [], num_classes)


@dataclass(frozen=True)
class Splits:
    """The images of each split; ``None`` where the data has no such split."""

    train: Samples | None = None
    val: Samples | None = None
    test: Samples | None = None
    has_tuning: bool = False
    """Whether ``val`` is a tuning split out of ``train``, and ``test`` what was ``val``."""
    too_few_to_tune: int = 0
    """Images that a tuning split was asked for and would have had, where they are too few."""

    def by_name(self) -> dict[str, Samples]:
        """Return the splits that there are, by name."""
        found = {"train": self.train, "val": self.val, "test": self.test}
        return {name: samples for name, samples in found.items() if samples is not None}

    def known_labels(self, class_names: Sequence[str]) -> dict[str, str]:
        """Return the label of each image that has one, by path, see `label_text`.

        Example:
            >>> Splits(Samples(["a"], [0]), Samples(["b"], [1])).known_labels(["ants", "bees"])
            {'a': 'ants', 'b': 'bees'}
        """
        return {
            path: label_text(label, class_names)
            for samples in self.by_name().values()
            for path, label in zip(samples.paths, samples.labels or [], strict=True)
        }

    def missing_classes(self, class_names: Sequence[str]) -> dict[str, str]:
        """Return the classes that a split has no image of, in one text for each such split.

        Example:
            >>> splits = Splits(Samples(["a", "b"], [0, 1]), Samples(["c"], [0]))
            >>> splits.missing_classes(["ants", "bees"])
            {'val': 'bees'}
        """
        found = {}
        for split, samples in self.by_name().items():
            counts = zip(class_names, samples.class_counts(len(class_names)), strict=True)
            missing = [name for name, count in counts if not count]
            if missing and samples:
                more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
                found[split] = ", ".join(missing[:_LISTED]) + more
        return found

    def describe(self, class_names: Sequence[str]) -> str:
        """Return one line that says how many images of which classes there are.

        Example:
            >>> Splits(Samples(["a", "b"], [0, 1]), Samples(["c"], [0])).describe(["ants", "bees"])
            'images: 2 train, 1 val, 2 classes (ants 1, bees 1)'
        """
        splits = self.by_name().items()
        sizes = ", ".join(f"{len(samples)} {name}" for name, samples in splits if samples)
        counted = self.train or self.val or self.test or Samples([], [])
        tuning = " (val is part of train, and test what was val)" if self.has_tuning else ""
        if self.too_few_to_tune:
            tuning = f" (no tuning split: {self.too_few_to_tune} images are too few)"
        return f"images: {sizes}{tuning}, {_describe_labels(counted, class_names)}"


def _describe_labels(samples: Samples, class_names: Sequence[str]) -> str:
    """Return what the labels are, in words."""
    labels = samples.labels or []
    if labels and isinstance(labels[0], float):
        numbers = [float(label) for label in labels if not isinstance(label, tuple)]
        mean = sum(numbers) / len(numbers)
        return f"{class_names[0]} {min(numbers):g} to {max(numbers):g} (mean {mean:.3g})"
    counts = samples.class_counts(len(class_names))
    named = [f"{name} {count}" for name, count in zip(class_names, counts, strict=True)]
    least, most = min(counts), max(counts)
    images = "1 image" if most == 1 else f"{most} images"
    each = f"{images} each" if least == most else f"{least} to {images} each"
    classes = ", ".join(named) if len(named) <= _NAMED else each
    several = ", several for an image" if labels and isinstance(labels[0], tuple) else ""
    return f"{len(class_names)} classes{several} ({classes})"
