"""Confusion matrix, sparse where classes are many, and the most frequent mistakes in it."""

from typing import NamedTuple

import torch
from torch import Tensor

MANY_CLASSES = 1000
"""Of more classes, nothing has a cell for each pair of them, or a column for each of them."""


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

    Of more than `MANY_CLASSES` it is sparse, and then no larger than the images are many.

    Args:
        labels: ``(N,)``.
        predicted: ``(N,)``.
        num_classes: Number of classes.

    Example:
        >>> confusion_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    pairs, counts = torch.unique(labels * num_classes + predicted, return_counts=True)
    places = torch.stack([pairs // num_classes, pairs % num_classes])
    size = (num_classes, num_classes)
    matrix = torch.sparse_coo_tensor(places, counts, size, check_invariants=True)
    return matrix.coalesce() if num_classes > MANY_CLASSES else matrix.to_dense()


def mistakes(counts: Tensor) -> list[Mistake]:
    """Return the mistakes in a confusion matrix, sparse or not, the most frequent first.

    Example:
        >>> mistakes(torch.tensor([[5, 1], [2, 5]]))
        [Mistake(label=1, predicted=0, num_images=2), Mistake(label=0, predicted=1, num_images=1)]
    """
    counts = counts.to_sparse().coalesce()
    rows = zip(*counts.indices().tolist(), counts.values().tolist(), strict=True)
    found = [Mistake(*row) for row in rows if row[0] != row[1] and row[2]]
    return sorted(found, key=lambda mistake: -mistake.num_images)


def label_counts(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how many images of each class there are, are predicted as it, and are right.

    Args:
        counts: A confusion matrix, sparse or not.

    Returns:
        Three times ``(num_classes,)``.

    Example:
        >>> [each.tolist() for each in label_counts(torch.tensor([[5, 1], [2, 5]]))]
        [[6, 7], [7, 6], [5, 5]]
    """
    counts = counts.to_sparse().coalesce()
    (labels, predicted), values = counts.indices(), counts.values()
    empty = values.new_zeros(len(counts))
    labeled = empty.index_add(0, labels, values)
    right = empty.index_add(0, labels, values * (labels == predicted))
    return labeled, empty.index_add(0, predicted, values), right
