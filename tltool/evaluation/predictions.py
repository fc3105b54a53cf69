"""Predictions on labeled images: class, confidence, right or wrong, and the worst of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tltool.evaluation.accuracy import accuracy_interval
from tltool.evaluation.calibration import ReliabilityBin, reliability_bins
from tltool.evaluation.confusion import confusion_matrix
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.per_class import ClassMetrics, class_metrics
from tltool.evaluation.regression import RegressionPredictions
from tltool.evaluation.score import ACCURACY, Score
from tltool.evaluation.score_interval import ScoreInterval


@dataclass(frozen=True)
class PredictionSet:
    """What a network predicts for labeled images of one split.

    Attributes:
        positions: The number of each image in the split, ``(N,)``.
        labels: Its class, ``(N,)``.
        predicted: The most probable class, ``(N,)``.
        confidence: The probability of that class, ``(N,)``.
        of_label: The probability of its own class, ``(N,)``.

    Example:
        >>> found = PredictionSet.from_probabilities(
        ...     torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 0])
        ... )
        >>> found.correct, found.accuracy
        (tensor([ True, False]), 0.5)
    """

    positions: Tensor
    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    of_label: Tensor

    score: ClassVar[Score] = ACCURACY

    @classmethod
    def from_probabilities(cls, probabilities: Tensor, labels: Tensor) -> "PredictionSet":
        """Return the predictions of a whole split.

        Args:
            probabilities: ``(N, num_classes)``.
            labels: ``(N,)``.
        """
        confidence, predicted = probabilities.max(dim=1)
        of_label = probabilities.gather(1, labels[:, None])[:, 0]
        return cls(torch.arange(len(labels)), labels, predicted, confidence, of_label)

    @classmethod
    def joined(cls, parts: Sequence["PredictionSet"]) -> "PredictionSet":
        """Return the predictions of a whole split from those of its batches, in order."""
        fields = ("labels", "predicted", "confidence", "of_label")
        whole = [torch.cat([getattr(part, name) for part in parts]) for name in fields]
        return cls(torch.arange(len(whole[0])), *whole)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> Tensor:
        """Whether each is right, ``(N,)``."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """The share of right ones."""
        return float(self.correct.double().mean())

    @property
    def right(self) -> Tensor:
        """Which are shown as right ones, ``(N,)``."""
        return self.correct

    @property
    def per_image(self) -> Tensor:
        """What each contributes to the accuracy, ``(N,)``: whether it is right."""
        return self.correct

    def interval(self, per_image: Tensor, groups: Sequence[int] | None = None) -> ScoreInterval:
        """Return an accuracy on these images with its 95 % interval, see `accuracy_interval`.

        Args:
            per_image: Whether each image is right, of this or of another network.
            groups: The group of each image.
        """
        found = accuracy_interval(per_image, groups)
        return ScoreInterval(found.accuracy, found.standard_error, found.interval)

    @property
    def bins(self) -> list[ReliabilityBin]:
        """Accuracy by confidence, see `reliability_bins`."""
        return reliability_bins(self.confidence, self.correct)

    def confusion(self, num_classes: int) -> Tensor:
        """Return the confusion matrix, see `confusion_matrix`."""
        return confusion_matrix(self.labels, self.predicted, num_classes)

    def classes(self, class_names: Sequence[str]) -> list[ClassMetrics]:
        """Return the metrics of each class, see `class_metrics`."""
        number = len(class_names)
        sums = self.confidence.new_zeros(number).index_add(0, self.labels, self.confidence)
        means = sums / torch.bincount(self.labels, minlength=number).clamp_min(1)
        return class_metrics(self.confusion(number), class_names, means.tolist())

    def worst_errors(self) -> list[int]:
        """Return the wrong ones, those whose own class got the least probability first."""
        return self._errors(self.of_label)

    def confident_errors(self) -> list[int]:
        """Return the wrong ones, the most confident first."""
        return self._errors(-self.confidence)

    def _errors(self, order: Tensor) -> list[int]:
        wrong = (~self.correct).nonzero()[:, 0]
        indices: list[int] = wrong[order[wrong].argsort()].tolist()
        return indices


Predictions = PredictionSet | MultiLabelPredictions | RegressionPredictions
"""Predictions on labeled images, of each objective."""
