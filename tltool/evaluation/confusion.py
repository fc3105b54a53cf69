"""Confusion matrix, and the most frequent mistakes in it."""

from typing import NamedTuple

from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix


class Mistake(NamedTuple):
    """A class that is predicted as another one.

    Attributes:
        label: Index of the true class.
        predicted: Index of the class that is predicted.
        num_images: How many.
    """

    label: int
    predicted: int
    num_images: int


def confusion_matrix(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Return how often each class (rows) was predicted as each, ``(num_classes, num_classes)``.

    Args:
        labels: ``(N,)``.
        predicted: ``(N,)``.
        num_classes: Number of classes.

    Example:
        >>> import torch
        >>> confusion_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    counts: Tensor = multiclass_confusion_matrix(predicted, labels, num_classes)
    return counts


def mistakes(counts: Tensor) -> list[Mistake]:
    """Return the mistakes in a confusion matrix, the most frequent first.

    Example:
        >>> import torch
        >>> mistakes(torch.tensor([[5, 1], [2, 5]]))
        [Mistake(label=1, predicted=0, num_images=2), Mistake(label=0, predicted=1, num_images=1)]
    """
    wrong = counts - counts.diag().diag()
    found = [Mistake(i, j, int(wrong[i, j])) for i, j in wrong.nonzero().tolist()]
    return sorted(found, key=lambda mistake: -mistake.num_images)
