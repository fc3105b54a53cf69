"""What is taken for what."""

import torch
from torch import Tensor


def confusion_matrix(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Return how often each class (rows) was taken for each, ``(num_classes, num_classes)``.

    Args:
        labels: ``(N,)``.
        predicted: ``(N,)``.
        num_classes: Number of classes.

    Example:
        >>> confusion_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    pairs = labels * num_classes + predicted
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)
