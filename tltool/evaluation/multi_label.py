"""Predictions of several labels an image: average precision, per-class metrics, exact match."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tltool._objective import SEPARATOR
from tltool.evaluation.average_precision import average_precision, mean_average_precision
from tltool.evaluation.per_class import macro_f1
from tltool.evaluation.score import MAP, Score
from tltool.evaluation.score_interval import ScoreInterval, score_interval

DEFAULT_THRESHOLD = 0.5
"""Of a class whose threshold was not chosen."""
NONE = "(none)"
"""What an image without a class is called in words."""


class LabelMetrics(NamedTuple):
    """How well one class is found among all images.

    Attributes:
        name: Of the class.
        num_images: Images that have it.
        average_precision: The area under its precision-recall curve; NaN without an image.
        interval: The bounds of its 95 % interval.
        precision: The share of right ones among the images that are said to have it.
        recall: The share of its images that are found.
        f1: The harmonic mean of both.
        threshold: The probability from which on an image is said to have it.
    """

    name: str
    num_images: int
    average_precision: float
    interval: tuple[float, float]
    precision: float
    recall: float
    f1: float
    threshold: float


@dataclass(frozen=True)
class MultiLabelPredictions:
    """What a network predicts for images that may have several classes, or none.

    Attributes:
        positions: The number of each image in the split, ``(N,)``.
        targets: Which classes each has, 0 or 1, ``(N, num_classes)``.
        probabilities: Of each class, ``(N, num_classes)``.
        thresholds: From which probability on an image is said to have a class, ``(num_classes,)``.

    Example:
        >>> targets, found = torch.tensor([[1, 0], [1, 1]]), torch.tensor([[0.9, 0.2], [0.4, 0.8]])
        >>> predictions = MultiLabelPredictions.of(found, targets)
        >>> predictions.mean_average_precision, predictions.exact.tolist()
        (1.0, [True, False])
    """

    positions: Tensor
    targets: Tensor
    probabilities: Tensor
    thresholds: Tensor

    score: ClassVar[Score] = MAP

    @classmethod
    def of(
        cls, probabilities: Tensor, targets: Tensor, thresholds: Sequence[float] | None = None
    ) -> "MultiLabelPredictions":
        """Return the predictions of a whole split.

        Args:
            probabilities: ``(N, num_classes)``.
            targets: ``(N, num_classes)``.
            thresholds: Of each class; ``None`` for `DEFAULT_THRESHOLD`.
        """
        usual = [DEFAULT_THRESHOLD] * targets.shape[1]
        chosen = torch.tensor(
            usual if thresholds is None else list(thresholds), dtype=torch.float64
        )
        return cls(torch.arange(len(targets)), targets, probabilities, chosen)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def predicted(self) -> Tensor:
        """Whether each image is said to have each class, ``(N, num_classes)``."""
        return predicted_classes(self.probabilities, self.thresholds)

    @property
    def exact(self) -> Tensor:
        """Whether all classes of an image are right, ``(N,)``."""
        return (self.predicted == (self.targets > 0)).all(dim=1)

    @property
    def right(self) -> Tensor:
        """Which images are shown as right ones, ``(N,)``."""
        return self.exact

    @cached_property
    def _average_precision(self) -> tuple[Tensor, Tensor]:
        return mean_average_precision(self.probabilities, self.targets)

    @property
    def mean_average_precision(self) -> float:
        """The mean of the average precisions of the classes that occur."""
        return float(self._average_precision[1].mean())

    @property
    def per_image(self) -> Tensor:
        """What each image contributes to the mean average precision, ``(N,)``."""
        return self._average_precision[1]

    def interval(self, per_image: Tensor, groups: Sequence[int] | None = None) -> ScoreInterval:
        """Return a mean average precision on these images with its 95 % interval.

        Args:
            per_image: What each image contributes to it, of this or of another network.
            groups: The group of each image.
        """
        return score_interval(per_image, groups, most=int((self.targets > 0).sum()))

    def classes(
        self, class_names: Sequence[str], groups: Sequence[int] | None = None
    ) -> list[LabelMetrics]:
        """Return the metrics of each class.

        Args:
            class_names: Names of the classes.
            groups: The group of each image, where images of one group are alike.
        """
        predicted, targets = self.predicted, self.targets > 0
        right = (predicted & targets).sum(dim=0)
        said, labeled = predicted.sum(dim=0), targets.sum(dim=0)
        columns = (
            (right / said.clamp_min(1)).tolist(),
            (right / labeled.clamp_min(1)).tolist(),
            (2 * right / (said + labeled).clamp_min(1)).tolist(),
            self.thresholds.tolist(),
        )
        rows = zip(class_names, labeled.tolist(), *columns, strict=True)
        return [
            LabelMetrics(name, number, *self._area(index, groups), *row)
            for index, (name, number, *row) in enumerate(rows)
        ]

    def _area(self, label: int, groups: Sequence[int] | None) -> tuple[float, tuple[float, float]]:
        """Return the average precision of a class with its interval."""
        targets = self.targets[:, label]
        value, moves = average_precision(self.probabilities[:, label], targets)
        found = score_interval(value + moves, groups, most=int((targets > 0).sum()))
        return value, found.interval

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur, in the labels or in the predictions."""
        predicted, targets = self.predicted, self.targets > 0
        counts = (each.sum(dim=0).double() for each in (targets, predicted, predicted & targets))
        return float(macro_f1(*counts))

    def confused(self) -> Tensor:
        """Return how often a class (rows) was missed where another (columns) was said wrongly.

        Returns:
            ``(num_classes, num_classes)``, in images.
        """
        predicted, targets = self.predicted, self.targets > 0
        missed, wrong = (targets & ~predicted).double(), (predicted & ~targets).double()
        return (missed.T @ wrong).long()

    def worst_errors(self) -> list[int]:
        """Return the images with a wrong class, those whose labels got the least probability first.

        That is the product over the classes, as if they were independent.
        """
        of_labels = torch.where(self.targets > 0, self.probabilities, 1 - self.probabilities)
        surprise = -of_labels.double().clamp_min(1e-12).log().sum(dim=1)
        wrong = (~self.exact).nonzero()[:, 0]
        indices: list[int] = wrong[surprise[wrong].argsort(descending=True)].tolist()
        return indices

    def words(self, index: int, class_names: Sequence[str]) -> tuple[str, str]:
        """Return the predicted and the true classes of an image in words."""
        rows = self.predicted[index], self.targets[index] > 0
        said, true = (joined_names(row, class_names) or NONE for row in rows)
        return said, true


def predicted_classes(
    probabilities: Tensor, thresholds: Sequence[float] | Tensor | None = None
) -> Tensor:
    """Return whether images are said to have classes.

    Args:
        probabilities: ``(..., num_classes)``.
        thresholds: From which probability on, ``(num_classes,)``; ``None`` for
            `DEFAULT_THRESHOLD`.

    Example:
        >>> predicted_classes(torch.tensor([0.5, 0.4]), [0.6, 0.4]).tolist()
        [False, True]
    """
    return probabilities >= torch.as_tensor(
        DEFAULT_THRESHOLD if thresholds is None else thresholds, dtype=probabilities.dtype
    )


def joined_names(chosen: Tensor, class_names: Sequence[str]) -> str:
    """Return the names of some classes as one cell of a table, empty for none.

    Args:
        chosen: Whether each class is, ``(num_classes,)``.
        class_names: Names of the classes.

    Example:
        >>> joined_names(torch.tensor([True, False, True]), ["ants", "bees", "wasps"])
        'ants;wasps'
    """
    return SEPARATOR.join(class_names[label] for label in chosen.nonzero()[:, 0].tolist())
