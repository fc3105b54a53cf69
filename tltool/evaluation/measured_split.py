"""A split that a network was measured on: predictions, baselines, groups, and which images."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

from tltool.evaluation.baselines import RUN, compare_with_baselines
from tltool.evaluation.measured_limits import MeasuredLimits
from tltool.evaluation.multi_label import MultiLabelPredictions, joined_names
from tltool.evaluation.paired_differences import Difference
from tltool.evaluation.predictions import Predictions, PredictionSet
from tltool.evaluation.score import Score
from tltool.evaluation.score_interval import ScoreInterval


@dataclass(frozen=True)
class MeasuredSplit:
    """The predictions of a network on the images that measure it, beside those of baselines.

    Attributes:
        split: Which images these are.
        class_names: Names of the classes; of the target alone where labels are numbers.
        predictions: Of all images, in order.
        paths: Where the images lie.
        names: Their paths from the data's root on.
        groups: The group of each image, where the data has groups.
        baselines: What each image contributes to the score of each baseline, such as whether it is
            right, ``(N,)``, by its name.
        majority: The class that most training images have; empty where labels are no classes, or
            several.
        uncalibrated: The predictions at temperature 1, where ``predictions`` are at another.
        calibration: What the temperature of the checkpoint rests on, in words.
        limits: How the checkpoint's prediction sets and its score of unknown inputs do; ``None``
            where it has none.
        doubts: What was found of labels and shortcuts, in sentences.
        doubt_counts: How many ``label_errors`` and ``shortcuts`` there are; empty if unknown.
        no_probe: Why there is no closed-form probe, where there was to be one.
    """

    split: Literal["train", "val", "test"]
    class_names: list[str]
    predictions: Predictions
    paths: list[str]
    names: list[str]
    groups: list[int] | None
    baselines: Mapping[str, Tensor]
    majority: str = ""
    uncalibrated: PredictionSet | None = None
    calibration: str = ""
    limits: MeasuredLimits | None = None
    doubts: Sequence[str] = ()
    doubt_counts: Mapping[str, int] = field(default_factory=dict)
    no_probe: str = ""

    @property
    def score(self) -> Score:
        """What the network and the baselines are compared by."""
        return self.predictions.score

    @property
    def results(self) -> dict[str, ScoreInterval]:
        """The scores of the baselines and of the run, by name."""
        scores = {**self.baselines, RUN: self.predictions.per_image}
        return {name: self.predictions.interval(each, self.groups) for name, each in scores.items()}

    @property
    def result(self) -> ScoreInterval:
        """The score of the run."""
        return self.predictions.interval(self.predictions.per_image, self.groups)

    @property
    def trust_numbers(self) -> dict[str, float]:
        """How far images and predictions can be trusted, as far as it was measured, by name."""
        found: dict[str, float] = dict(self.doubt_counts)
        if self.limits is not None:
            found["unknown_rate"] = self.limits.unknown_share
            for asked, counts in self.limits.sets.items():
                found[f"coverage_{asked:.2f}"] = counts.coverage
        return found

    @property
    def differences(self) -> dict[str, Difference]:
        """The run's score less that of each baseline, see `compare_with_baselines`."""
        return compare_with_baselines(
            self.predictions.per_image,
            self.baselines,
            self.groups,
            score=self.score,
        )

    @property
    def by_name(self) -> tuple[Tensor, list[int] | None]:
        """What each image contributes to the score, ``(N,)``, and its group, by order of names."""
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        groups = self.groups and [self.groups[index] for index in order]
        return self.predictions.per_image[order], groups

    @property
    def single_label(self) -> PredictionSet:
        """The predictions, where each image has one class."""
        assert isinstance(self.predictions, PredictionSet)  # noqa: S101  # the caller looked
        return self.predictions

    @property
    def confusion(self) -> Tensor:
        """The confusion matrix, ``(num_classes, num_classes)``, rows are labels."""
        return self.single_label.confusion(len(self.class_names))

    @property
    def fingerprint(self) -> str:
        """A hash of the images' names and labels: equal only where the same images measure."""
        found = self.predictions
        if isinstance(found, PredictionSet):
            labels = [self.class_names[label] for label in found.labels.tolist()]
            return fingerprint(self.names, labels)
        if isinstance(found, MultiLabelPredictions):
            order = sorted(range(len(self.class_names)), key=self.class_names.__getitem__)
            names = [self.class_names[index] for index in order]
            labels = [joined_names(row > 0, names) for row in found.targets[:, order]]
        else:
            labels = [repr(value) for value in found.targets.tolist()]
        # Equal labels may be measured by another score, which cannot be compared.
        return fingerprint([*self.names, ""], [*labels, self.score.name])


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
