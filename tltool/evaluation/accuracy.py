"""Accuracy with its standard error and 95 % confidence interval, with groups of images too."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from tltool.evaluation.paired_differences import estimate_mean

QUANTILE = 1.959964
"""Of the normal distribution, for an interval that holds 95 %."""


class AccuracyInterval(NamedTuple):
    """An accuracy and how sure it is.

    Attributes:
        accuracy: The share of right images.
        num_images: How many images it is over.
        interval: The bounds of the 95 % interval, for other images of the same kind.
        num_trials: As how many independent images they count, see `accuracy_interval`.
    """

    accuracy: float
    num_images: int
    interval: tuple[float, float]
    num_trials: float

    @property
    def standard_error(self) -> float:
        """The standard error, over other images of the same kind."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.num_trials)

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} +- {self.standard_error:.3f}"


def accuracy_interval(correct: Tensor, groups: Sequence[int] | None = None) -> AccuracyInterval:
    """Return an accuracy with its 95 % interval (Wilson, 1927).

    The interval keeps its width where all images are right. Where images belong together, such as
    those of one patient, they count as so many as their spread over the groups is worth, and at
    least as one: a single group has no spread to see.

    Args:
        correct: Whether each image is right, ``(N,)``.
        groups: The group of each image.

    Example:
        >>> import torch
        >>> [round(bound, 3) for bound in accuracy_interval(torch.ones(20)).interval]
        [0.839, 1.0]
    """
    share, number = correct.double().mean().item(), len(correct)
    effective = float(number)
    if groups is not None:
        error = estimate_mean(correct[None], groups).standard_error
        within = share * (1 - share)
        effective = len(set(groups))
        if error and within:
            effective = max(min(within / error**2, number), 1.0)
    return AccuracyInterval(share, number, wilson(share, effective), effective)


def wilson(share: float, number: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of ``number`` independent trials."""
    square = QUANTILE**2
    center = (share + square / (2 * number)) / (1 + square / number)
    spread = math.sqrt(share * (1 - share) / number + square / (4 * number**2))
    half = QUANTILE / (1 + square / number) * spread
    return max(center - half, 0.0), min(center + half, 1.0)
