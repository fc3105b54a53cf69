"""Metrics of numbers: errors, explained variance, rank correlation; of levels kappa too."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from tltool.data.loading.labels import TargetStats


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


class _AllPairs(Metric):
    """What needs all predictions and targets at once."""

    pairs: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("pairs", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Note a batch: predictions ``(B,)`` or ``(B, 1)``, and targets ``(B,)``."""
        self.pairs.append(torch.stack([preds.flatten().float(), target.float()], dim=1))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Join the ranks; one without an image brings a list of the type of the others."""
        if not self.pairs:
            self.pairs.append(torch.empty(0, 2, device=self.device))
        super().sync(*args, **kwargs)

    def _columns(self) -> tuple[Tensor, Tensor]:
        predicted, target = dim_zero_cat(self.pairs).cpu().double().T
        return predicted, target


class ExplainedVariance(_AllPairs):
    """R squared, the share of the variance that is explained; NaN where the targets are all one."""

    def compute(self) -> Tensor:
        """Return the share."""
        predicted, target = self._columns()
        total = (target - target.mean()).square().sum()
        left = (target - predicted).square().sum()
        return (1 - left / total).float() if total > 0 else torch.tensor(torch.nan)


class RankCorrelation(_AllPairs):
    """Spearman's rank correlation; NaN where the targets or the predictions are all one."""

    def compute(self) -> Tensor:
        """Return the correlation."""
        ranks = torch.stack([mean_ranks(column) for column in self._columns()])
        if len(ranks[0]) < 2 or not (ranks.std(dim=1) > 0).all():
            return torch.tensor(torch.nan)
        return torch.corrcoef(ranks)[0, 1].float()


def mean_ranks(values: Tensor) -> Tensor:
    """Return the rank of each value ``(N,)``; equal ones share the mean of theirs.

    Example:
        >>> mean_ranks(torch.tensor([3.0, 1.0, 3.0, 2.0]))
        tensor([3.5000, 1.0000, 3.5000, 2.0000], dtype=torch.float64)
    """
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(dim=0).double()
    return (last - (counts - 1) / 2)[place]


class LevelAccuracy(_AllPairs):
    """The share of predictions whose nearest level is that of the target.

    Args:
        target: With levels.
    """

    def __init__(self, target: TargetStats) -> None:
        super().__init__()
        self.target = target

    def compute(self) -> Tensor:
        """Return the share."""
        predicted, label = (self.target.nearest_level(column) for column in self._columns())
        return (predicted == label).float().mean()


class QuadraticKappa(LevelAccuracy):
    """Cohen's kappa of the nearest levels, an error weighted by the square of its steps.

    Cohen, 1968, https://doi.org/10.1037/h0026256. 1 is agreement, 0 what chance brings; NaN where
    targets and predictions are all of one level.
    """

    def compute(self) -> Tensor:
        """Return kappa."""
        predicted, label = (self.target.nearest_level(column) for column in self._columns())
        predicted, label = predicted.double(), label.double()
        # The mean square of the steps between each prediction and each label.
        means = predicted.mean() * label.mean()
        expected = predicted.square().mean() - 2 * means + label.square().mean()
        if expected <= 0:
            return torch.tensor(torch.nan)
        return (1 - (predicted - label).square().mean() / expected).float()
