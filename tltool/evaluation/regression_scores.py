"""Scores of predicted values: MAE, RMSE, R2, Spearman, kappa; what each image contributes."""

import torch
from torch import Tensor

# Each function returns contributions `(N,)` whose mean is the score: its value plus the influence
# of each image on it (Hampel, 1974, https://doi.org/10.1080/01621459.1974.10482962). Means,
# intervals and paired differences of them are those of any mean over images.


def absolute_errors(targets: Tensor, predicted: Tensor) -> Tensor:
    """Return what each image contributes to the mean absolute error, ``(N,)``.

    Args:
        targets: True values ``(N,)``.
        predicted: ``(N,)``.
    """
    return (predicted.double() - targets.double()).abs()


def root_mean_square(targets: Tensor, predicted: Tensor) -> Tensor:
    """Return what each image contributes to the root of the mean squared error, ``(N,)``.

    Example:
        >>> root_mean_square(torch.tensor([0.0, 0.0]), torch.tensor([3.0, 3.0])).mean()
        tensor(3., dtype=torch.float64)
    """
    squares = (predicted.double() - targets.double()).square()
    mean = squares.mean()
    return mean.sqrt() + (squares - mean) / (2 * mean.sqrt()).clamp_min(1e-300)


def r_squared(targets: Tensor, predicted: Tensor) -> Tensor:
    """Return what each image contributes to R2, ``(N,)``: NaN where all true values are equal.

    R2 is the share of the variance that is explained; always saying the mean of these images is 0.
    """
    squares = (predicted.double() - targets.double()).square()
    spread = (targets.double() - targets.double().mean()).square()
    error, variance = squares.mean(), spread.mean()
    if variance == 0:
        return torch.full_like(squares, torch.nan)
    influence = (error * (spread - variance) / variance - (squares - error)) / variance
    return 1 - error / variance + influence


def spearman(targets: Tensor, predicted: Tensor) -> Tensor:
    """Return what each image contributes to Spearman's rank correlation, ``(N,)``.

    Equal values have the mean of their ranks. NaN where all true or all predicted values are equal.
    """
    first, second = _centered_ranks(targets), _centered_ranks(predicted)
    joint, variances = first * second, (first.square().mean(), second.square().mean())
    root = (variances[0] * variances[1]).sqrt()
    if root == 0:
        return torch.full_like(joint, torch.nan)
    value = joint.mean() / root
    # An image moves the ranks of all that are above it, too.
    moves = joint + _mean_above(targets, second) + _mean_above(predicted, first)
    spreads = (
        (ranks.square() + 2 * _mean_above(values, ranks)) / variance
        for values, ranks, variance in (
            (targets, first, variances[0]),
            (predicted, second, variances[1]),
        )
    )
    influence = moves / root - value / 2 * sum(spreads)
    return value + influence - influence.mean()


def quadratic_kappa(levels: Tensor, predicted: Tensor) -> Tensor:
    """Return what each image contributes to Cohen's kappa with quadratic weights, ``(N,)``.

    One less the mean squared difference of levels over that of independent ones (Cohen, 1968,
    https://doi.org/10.1037/h0026256); 0 is chance, 1 is perfect. NaN where there is one level.

    Args:
        levels: Number of the true level ``(N,)``.
        predicted: Number of the predicted level ``(N,)``.
    """
    first, second = levels.double(), predicted.double()
    squares = (first - second).square()
    means, centered = (first.mean(), second.mean()), (first - first.mean(), second - second.mean())
    gap = means[0] - means[1]
    spread = centered[0].square() + centered[1].square() + gap.square()
    by_chance = spread.mean()
    if by_chance == 0:
        return torch.full_like(squares, torch.nan)
    chance = spread - by_chance + 2 * gap * (centered[0] - centered[1])
    found = squares.mean()
    influence = (found * chance / by_chance - (squares - found)) / by_chance
    return 1 - found / by_chance + influence


def nearest_levels(values: Tensor, levels: Tensor) -> Tensor:
    """Return the number of the level that is nearest to each value, ``(N,)``; of two, the lower.

    Args:
        values: ``(N,)``.
        levels: In ascending order.

    Example:
        >>> nearest_levels(torch.tensor([0.1, 0.5, 2.0]), torch.tensor([0.0, 1.0])).tolist()
        [0, 0, 1]
    """
    borders = (levels[1:] + levels[:-1]) / 2
    found: Tensor = torch.bucketize(values.contiguous(), borders.to(values.dtype))
    return found


def _centered_ranks(values: Tensor) -> Tensor:
    """Return ranks as shares of the images, less their mean; equal values share theirs."""
    _, places, counts = torch.unique(values, return_inverse=True, return_counts=True)
    middle = counts.double().cumsum(0) - counts.double() / 2
    ranks: Tensor = middle[places] / len(values) - 0.5
    return ranks


def _mean_above(values: Tensor, numbers: Tensor) -> Tensor:
    """Return the sum of numbers of images with greater values, those of equal ones half, over N."""
    _, places, counts = torch.unique(values, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=torch.float64).index_add(0, places, numbers)
    above = sums.flip(0).cumsum(0).flip(0) - sums / 2
    means: Tensor = above[places] / len(values)
    return means
