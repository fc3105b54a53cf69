"""Predictions of a number for each image: errors, correlation, and of levels, kappa."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tltool.evaluation.accuracy import accuracy_interval
from tltool.evaluation.regression_scores import (
    absolute_errors,
    nearest_levels,
    quadratic_kappa,
    r_squared,
    root_mean_square,
    spearman,
)
from tltool.evaluation.score import MAE, Score
from tltool.evaluation.score_interval import ScoreInterval, score_interval

SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "MAE": absolute_errors,
    "RMSE": root_mean_square,
    "R2": r_squared,
    "Spearman": spearman,
}
KAPPA, NEAREST = "quadratic kappa", "nearest level"
_HIGHEST = {"R2": 1.0, "Spearman": 1.0, KAPPA: 1.0}
_LOWEST = {"MAE": 0.0, "RMSE": 0.0, "Spearman": -1.0, KAPPA: -1.0}


@dataclass(frozen=True)
class RegressionPredictions:
    """What a network predicts where the label of an image is a number.

    Attributes:
        positions: The number of each image in the split, ``(N,)``.
        targets: The true value, ``(N,)``.
        predicted: In the same unit, ``(N,)``.
        levels: The values that labels may have, ascending, where they are few; else empty.

    Example:
        >>> found = RegressionPredictions.of(torch.tensor([0.1, 0.9]), torch.tensor([0.0, 1.0]))
        >>> round(found.values["MAE"], 3), round(found.values["R2"], 3)
        (0.1, 0.96)
    """

    positions: Tensor
    targets: Tensor
    predicted: Tensor
    levels: tuple[float, ...] = ()

    score: ClassVar[Score] = MAE

    @classmethod
    def of(
        cls, predicted: Tensor, targets: Tensor, levels: Sequence[float] | None = None
    ) -> "RegressionPredictions":
        """Return the predictions of a whole split.

        Args:
            predicted: ``(N,)``.
            targets: ``(N,)``.
            levels: See `RegressionPredictions`.
        """
        return cls(torch.arange(len(targets)), targets, predicted, tuple(levels or ()))

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def residuals(self) -> Tensor:
        """Predicted less true values, ``(N,)``."""
        return self.predicted.double() - self.targets.double()

    @property
    def per_image(self) -> Tensor:
        """The absolute error of each image, ``(N,)``."""
        return absolute_errors(self.targets, self.predicted)

    @property
    def right(self) -> Tensor:
        """Which images are shown as right, ``(N,)``: those with no more than the mean error."""
        return self.per_image <= self.per_image.mean()

    @property
    def contributions(self) -> dict[str, Tensor]:
        """What each image contributes to each score, ``(N,)`` by its name."""
        found = {name: scores(self.targets, self.predicted) for name, scores in SCORES.items()}
        if self.levels:
            true, said = self.in_levels
            found |= {KAPPA: quadratic_kappa(true, said), NEAREST: (true == said).double()}
        return found

    @property
    def values(self) -> dict[str, float]:
        """Each score by its name; NaN where it is not defined."""
        return {name: float(each.mean()) for name, each in self.contributions.items()}

    def intervals(self, groups: Sequence[int] | None = None) -> dict[str, ScoreInterval]:
        """Return each score with its 95 % interval.

        Args:
            groups: The group of each image, where images of one group are alike.
        """
        found = {}
        for name, each in self.contributions.items():
            if name == NEAREST:
                share = accuracy_interval(each, groups)
                found[name] = ScoreInterval(share.accuracy, share.standard_error, share.interval)
                continue
            value, error, (low, high) = score_interval(each, groups)
            low, high = max(low, _LOWEST.get(name, low)), min(high, _HIGHEST.get(name, high))
            found[name] = ScoreInterval(value, error, (low, high))
        return found

    def interval(self, per_image: Tensor, groups: Sequence[int] | None = None) -> ScoreInterval:
        """Return a mean absolute error on these images with its 95 % interval.

        Args:
            per_image: The absolute errors, of this or of another network.
            groups: The group of each image.
        """
        value, error, (low, high) = score_interval(per_image, groups)
        return ScoreInterval(value, error, (max(low, 0.0), high))

    @property
    def in_levels(self) -> tuple[Tensor, Tensor]:
        """The numbers of the levels nearest to the true and to the predicted values, ``(N,)``."""
        levels = torch.tensor(self.levels)
        return nearest_levels(self.targets, levels), nearest_levels(self.predicted, levels)

    def worst_errors(self) -> list[int]:
        """Return all images, the largest error first."""
        indices: list[int] = self.per_image.argsort(descending=True, stable=True).tolist()
        return indices

    def words(self, index: int, class_names: Sequence[str]) -> tuple[str, str]:
        """Return the predicted and the true value of an image in words."""
        return f"{float(self.predicted[index]):.3g}", f"{float(self.targets[index]):.4g}"
