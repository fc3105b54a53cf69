"""A split that a network was measured on: predictions, baselines, groups, and which images."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from tltool.evaluation.accuracy import AccuracyInterval, accuracy_interval
from tltool.evaluation.baselines import RUN, compare_with_baselines
from tltool.evaluation.measured_limits import MeasuredLimits
from tltool.evaluation.paired_differences import Difference
from tltool.evaluation.predictions import PredictionSet


@dataclass(frozen=True)
class MeasuredSplit:
    """The predictions of a network on the images that measure it, beside those of baselines.

    Attributes:
        split: Which images these are.
        class_names: Names of the classes.
        predictions: Of all images, in order.
        paths: Where the images lie.
        names: Their paths from the data's root on.
        groups: The group of each image, where the data has groups.
        baselines: Whether each baseline is right, ``(N,)``, by its name.
        majority: The class that most training images have.
        limits: How the checkpoint's prediction sets and its score of unknown inputs do; ``None``
            where it has none.
        doubts: What was found of labels and shortcuts, in sentences.
    """

    split: Literal["train", "val", "test"]
    class_names: list[str]
    predictions: PredictionSet
    paths: list[str]
    names: list[str]
    groups: list[int] | None
    baselines: Mapping[str, Tensor]
    majority: str
    limits: MeasuredLimits | None = None
    doubts: Sequence[str] = ()

    @property
    def accuracies(self) -> dict[str, AccuracyInterval]:
        """The accuracies of the baselines and of the run, by name."""
        all_correct = {**self.baselines, RUN: self.predictions.correct}
        return {name: accuracy_interval(each, self.groups) for name, each in all_correct.items()}

    @property
    def accuracy(self) -> AccuracyInterval:
        """The accuracy of the run."""
        return accuracy_interval(self.predictions.correct, self.groups)

    @property
    def differences(self) -> dict[str, Difference]:
        """The run's accuracy less that of each baseline, see `compare_with_baselines`."""
        return compare_with_baselines(self.predictions.correct, self.baselines, self.groups)

    @property
    def by_name(self) -> tuple[Tensor, list[int] | None]:
        """Whether each image is predicted right, ``(N,)``, and its group, in order of the names."""
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        groups = self.groups and [self.groups[index] for index in order]
        return self.predictions.correct[order], groups

    @property
    def confusion(self) -> Tensor:
        """The confusion matrix, ``(num_classes, num_classes)``, rows are labels."""
        return self.predictions.confusion(len(self.class_names))

    @property
    def fingerprint(self) -> str:
        """A hash of the images' names and classes: equal only where the same images measure."""
        labels = [self.class_names[label] for label in self.predictions.labels.tolist()]
        return fingerprint(self.names, labels)


def fingerprint(names: Sequence[str], labels: Sequence[str]) -> str:
    """Return a hash of images and their classes that does not depend on their order.

    Example:
        >>> fingerprint(["a", "b"], ["ants", "bees"]) == fingerprint(["b", "a"], ["bees", "ants"])
        True
    """
    digest = hashlib.sha256()
    for name, label in sorted(zip(names, labels, strict=True)):
        for value in (name, label):
            content = value.encode("utf-8", "surrogateescape")
            digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:12]


def names_from_root(paths: Sequence[str], root: Path | None) -> list[str]:
    """Return paths from the data's root on, so that they are the same wherever the data lie.

    Example:
        >>> names_from_root(["images/val/a.jpg", "elsewhere/b.jpg"], Path("images"))
        ['val/a.jpg', 'elsewhere/b.jpg']
    """
    return [
        (path.relative_to(root) if root and path.is_relative_to(root) else path).as_posix()
        for path in map(Path, paths)
    ]
