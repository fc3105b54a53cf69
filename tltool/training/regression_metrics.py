"""Metrics of numbers: errors, explained variance, rank correlation; of levels kappa too."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric

from tltool.data.loading.labels import TargetStats
from tltool.evaluation.regression_scores import nearest_levels
from tltool.training.list_metric import RowMetric


class MeanError(Metric):
    """The mean absolute error, or the root of the mean squared one.

    Args:
        squared: Whether errors are squared.
    """

    total: Tensor
    number: Tensor

    def __init__(self, *, squared: bool = False) -> None:
        super().__init__()
        self.squared = squared
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("number", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch: predictions ``(B,)`` or ``(B, 1)``, and targets ``(B,)``."""
        errors = preds.flatten().float() - target.float()
        self.total += errors.square().sum() if self.squared else errors.abs().sum()
        self.number += len(target)

    def compute(self) -> Tensor:
        """Return the mean."""
        mean = self.total / self.number
        return mean.sqrt() if self.squared else mean


class ScoreOfAll(RowMetric):
    """A score of all predictions, such as R squared or Spearman's rank correlation.

    Args:
        score: What each image contributes to it, ``(N,)``, of targets and predictions.
        target: With levels, where it is of the nearest levels.
    """

    def __init__(
        self, score: Callable[[Tensor, Tensor], Tensor], target: TargetStats | None = None
    ) -> None:
        super().__init__((2,))
        self.score = score
        self.target = target

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Note a batch: predictions ``(B,)`` or ``(B, 1)``, and targets ``(B,)``."""
        self.rows.append(torch.stack([preds.flatten().float(), target.float()], dim=1))

    def compute(self) -> Tensor:
        """Return the score; NaN where it is not defined, as where all targets are one."""
        predicted, targets = self.joined_rows().double().T
        if self.target is not None and self.target.levels is not None:
            levels = torch.tensor(self.target.levels, dtype=torch.float64)
            predicted, targets = (nearest_levels(each, levels) for each in (predicted, targets))
        return self.score(targets, predicted).double().mean().float()
