"""Thresholds of classes: from which probability on an image is said to have a class."""

import torch
from torch import Tensor

from tltool.evaluation.multi_label import DEFAULT_THRESHOLD


def choose_thresholds(probabilities: Tensor, targets: Tensor) -> list[float]:
    """Return for each class the threshold with the highest F1, in the middle of a gap.

    The best one for F1 lies at half of the F1 that it reaches, below .5 for a class that is hard to
    tell (Lipton et al., 2014, https://arxiv.org/abs/1402.1892). Of equal ones the nearest to .5 is
    taken, and .5 for a class that no image has, or all have.

    Args:
        probabilities: ``(N, num_classes)``.
        targets: Which classes each image has, ``(N, num_classes)``.

    Example:
        >>> choose_thresholds(torch.tensor([[0.1], [0.75], [0.5]]), torch.tensor([[0], [1], [0]]))
        [0.625]
    """
    pairs = zip(probabilities.double().T, targets.T, strict=True)
    return [_best_threshold(column, labels > 0) for column, labels in pairs]


def _best_threshold(probabilities: Tensor, has: Tensor) -> float:
    if has.all() or not has.any():
        return DEFAULT_THRESHOLD
    values, order = probabilities.sort(descending=True)
    below = torch.cat([values[1:], values.new_zeros(1)])
    said = torch.arange(1, len(values) + 1, dtype=torch.float64)
    f1 = 2 * has[order].cumsum(dim=0) / (said + has.sum())
    f1[values == below] = -1.0  # Equal ones are said together.
    middle = ((values + below) / 2).clamp(1e-6, 1 - 1e-6)
    best = middle[f1 >= f1.max() - 1e-12]
    return float(best[(best - DEFAULT_THRESHOLD).abs().argmin()])
