"""From a network's outputs and labels to predictions of their objective."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from tltool._objective import Objective
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.predictions import Predictions, PredictionSet
from tltool.evaluation.regression import RegressionPredictions


class PredictionKind(NamedTuple):
    """What a task predicts.

    Attributes:
        num_classes: Number of classes; of numbers 1.
        objective: What the labels are.
        thresholds: Of several classes, see `MultiLabelPredictions`.
        levels: Of numbers, see `RegressionPredictions`.

    Example:
        >>> kind = PredictionKind(1, "regression")
        >>> kind.predictions(torch.tensor([0.5]), torch.tensor([0.25])).per_image
        tensor([0.2500], dtype=torch.float64)
    """

    num_classes: int
    objective: Objective = "single_label"
    thresholds: list[float] | None = None
    levels: tuple[float, ...] | None = None

    def predictions(self, outputs: Tensor, labels: Tensor) -> Predictions:
        """Return the predictions of a whole split.

        Args:
            outputs: Probabilities ``(N, num_classes)``, or numbers ``(N,)`` or ``(N, 1)``.
            labels: ``(N,)``, or ``(N, num_classes)`` of several classes.
        """
        if self.objective == "multi_label":
            return MultiLabelPredictions.of(outputs, labels, self.thresholds)
        if self.objective == "regression":
            return RegressionPredictions.of(outputs.flatten(), labels, self.levels)
        return PredictionSet.from_probabilities(outputs, labels)

    def columns(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return what is kept of a batch, ``(B, num_columns)``; see `from_columns`."""
        if self.objective == "single_label":
            found = PredictionSet.from_probabilities(outputs, labels)
            kept = (found.labels, found.predicted, found.confidence, found.of_label)
            return torch.stack([each.float() for each in kept], dim=1)
        return torch.cat([labels.view(len(labels), -1), outputs.view(len(labels), -1)], dim=1)

    @property
    def num_columns(self) -> int:
        """The number of `columns`."""
        return 4 if self.objective == "single_label" else 2 * self.num_classes

    def from_columns(self, rows: Tensor, positions: Tensor) -> Predictions:
        """Return the predictions of images from their `columns`.

        Args:
            rows: ``(N, num_columns)``.
            positions: The number of each image in its split.
        """
        if self.objective == "single_label":
            labels, predicted, confidence, of_label = rows.T
            return PredictionSet(positions, labels.long(), predicted.long(), confidence, of_label)
        labels, outputs = rows[:, : self.num_classes], rows[:, self.num_classes :]
        labels = labels if self.objective == "multi_label" else labels[:, 0]
        return replace(self.predictions(outputs, labels), positions=positions)
