"""A score with its standard error and 95 % interval, from what each image contributes to it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from tltool.evaluation.accuracy import wilson
from tltool.evaluation.paired_differences import estimate_mean


class ScoreInterval(NamedTuple):
    """A score and how sure it is.

    Attributes:
        value: The score.
        standard_error: Its standard error, over other images of the same kind.
        interval: The bounds of the 95 % interval.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]


def score_interval(
    per_image: Tensor, groups: Sequence[int] | None = None, *, most: int | None = None
) -> ScoreInterval:
    """Return the mean of what each image contributes to a score, with its 95 % interval.

    Args:
        per_image: Contributions of the images, ``(N,)``, see `average_precision` and
            `regression_scores`.
        groups: The group of each image, where images of one group are alike.
        most: For a share in ``[0, 1]``: as many trials as it is worth at the most, such as the
            number of positives. It then has the interval of Wilson (1927) for as many trials as
            its standard error is worth, at least one, which keeps its width where all is right.
            ``None`` for a number without bounds, which has a t interval.

    Example:
        >>> import torch
        >>> score_interval(torch.ones(20), most=20).interval
        (0.838..., 1.0)
    """
    estimate = estimate_mean(per_image[None], groups)
    value, error = estimate.mean, estimate.standard_error
    if most is None or not math.isfinite(value):
        return ScoreInterval(value, error, estimate.interval)
    share = min(max(value, 0.0), 1.0)
    within = share * (1 - share)
    most = min(most, len(per_image) if groups is None else len(set(groups)))
    # One image or group has no spread: its error is infinite, and it counts as one trial.
    trials = max(min(within / error**2, most), 1.0) if error and within else most
    return ScoreInterval(value, error, wilson(share, trials))
