"""Average precision of classes, and what each image contributes to it."""

import torch
from torch import Tensor


def average_precision(scores: Tensor, targets: Tensor) -> tuple[float, Tensor]:
    """Return the average precision of one class, and how far each image moves it.

    The average precision is the mean, over the images of the class, of the precision among all
    images that have at least their score; images of one score count together, as in scikit-learn.
    What an image contributes follows from the average precision without it (the jackknife of
    Quenouille, 1956, https://doi.org/10.1093/biomet/43.3-4.353), so that means, intervals and
    paired differences of it are those of any mean over images.

    Args:
        scores: ``(N,)``; the higher the more probable.
        targets: Whether each image is of the class, ``(N,)``.

    Returns:
        The average precision, NaN without an image of the class; and ``(N,)``, of mean 0: the mean
        of the sum of both is the average precision. An only image of the class moves nothing, for
        without it there is no average precision.

    Example:
        >>> value, moves = average_precision(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 0, 1]))
        >>> round(value, 3), round(float(moves.sum()), 3)
        (0.833, 0.0)
    """
    number, positives = len(scores), int((targets > 0).sum())
    if not positives:
        return torch.nan, torch.zeros(number, dtype=torch.float64)
    order = scores.argsort(descending=True, stable=True)
    _, tied, sizes = torch.unique_consecutive(
        scores[order], return_inverse=True, return_counts=True
    )
    found = torch.zeros(len(sizes), dtype=torch.float64)
    found = found.index_add(0, tied, (targets[order] > 0).double())  # positives of each score
    hits, seen = found.cumsum(0), sizes.double().cumsum(0)
    value = float((found * hits / seen).sum() / positives)
    without = torch.empty(number, dtype=torch.float64)
    is_positive = targets[order] > 0
    without[order] = torch.where(
        is_positive,
        _without_positive(found, hits, seen)[tied] if positives > 1 else torch.tensor(value),
        _without_negative(found, hits, seen)[tied],
    )
    moves = (number - 1) * (value - without)
    return value, moves - moves.mean()


def _without_negative(found: Tensor, hits: Tensor, seen: Tensor) -> Tensor:
    """Return the average precision without one negative image of each score."""
    before = (found * hits / seen).cumsum(0) - found * hits / seen
    fewer = found * hits / (seen - 1).clamp_min(1)
    return (before + _from_here(fewer)) / found.sum()


def _without_positive(found: Tensor, hits: Tensor, seen: Tensor) -> Tensor:
    """Return the average precision without one positive image of each score."""
    before = (found * hits / seen).cumsum(0) - found * hits / seen
    precision = (hits - 1) / (seen - 1).clamp_min(1)
    here = (found - 1) * precision
    behind = _from_here(found * precision) - found * precision
    return (before + here + behind) / (found.sum() - 1)


def _from_here(values: Tensor) -> Tensor:
    return values.flip(0).cumsum(0).flip(0)


def mean_average_precision(probabilities: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the average precision of each class, and what each image contributes to their mean.

    The mean is over the classes that occur, as in torchmetrics; scikit-learn counts a class without
    an image as 0, which hides how good the others are.

    Args:
        probabilities: ``(N, num_classes)``.
        targets: Which classes each image has, ``(N, num_classes)``.

    Returns:
        ``(num_classes,)``, NaN for a class without an image; and ``(N,)``, whose mean is the macro
        average precision.
    """
    values, total = [], torch.zeros(len(targets), dtype=torch.float64)
    for scores, labels in zip(probabilities.T, targets.T, strict=True):
        value, moves = average_precision(scores, labels)
        values.append(value)
        total += moves
    all_values = torch.tensor(values, dtype=torch.float64)
    present = all_values.isfinite()
    return all_values, all_values[present].mean() + total / max(int(present.sum()), 1)
