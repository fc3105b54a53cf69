"""How a network does class by class, and how far its confidence can be trusted."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tltool.tracking.val_outcomes import Outcomes

COLUMNS = ("class", "photos", "precision", "recall", "f1", "confidence", "most often taken for")
NUM_BINS = 15  # as the calibration error among the metrics has


class Bin(NamedTuple):
    """Photos of which the network is about equally sure.

    Attributes:
        confidence: Their mean confidence.
        accuracy: The share that is right.
        num_photos: How many they are.
    """

    confidence: float
    accuracy: float
    num_photos: int


def confusion_matrix(outcomes: Outcomes, num_classes: int) -> Tensor:
    """Return how often each class (rows) was taken for each, ``(num_classes, num_classes)``."""
    pairs = outcomes.labels * num_classes + outcomes.predicted
    counts = torch.bincount(pairs, minlength=num_classes**2)
    return counts.view(num_classes, num_classes)


def class_rows(outcomes: Outcomes, class_names: Sequence[str]) -> list[list[str | int | float]]:
    """Return one row for each class, see ``COLUMNS``.

    Example:
        >>> rows = torch.tensor([[1, 0, 0, 0.9, 0.9], [1, 1, 0, 0.6, 0.4], [1, 1, 1, 0.8, 0.8]])
        >>> class_rows(Outcomes.from_rows(rows), ["ants", "bees"])[1]
        ['bees', 2, 1.0, 0.5, 0.667, 0.7, 'ants']
    """
    counts = confusion_matrix(outcomes, len(class_names))
    rows: list[list[str | int | float]] = []
    for index, name in enumerate(class_names):
        right, photos = int(counts[index, index]), int(counts[index].sum())
        said = int(counts[:, index].sum())
        errors = counts[index].clone()
        errors[index] = 0
        taken_for = class_names[int(errors.argmax())] if errors.any() else ""
        confidence = outcomes.confidence[outcomes.labels == index]
        numbers = (
            right / max(said, 1),
            right / max(photos, 1),
            2 * right / max(said + photos, 1),
            float(confidence.mean()) if photos else 0.0,
        )
        rows.append([name, photos, *(round(number, 3) for number in numbers), taken_for])
    return rows


def reliability(outcomes: Outcomes) -> list[Bin]:
    """Return the bins of equal width of the confidence that hold a photo.

    Example:
        >>> rows = torch.tensor([[1, 0, 0, 0.875, 0.875], [1, 0, 0, 0.625, 0.625]])
        >>> reliability(Outcomes.from_rows(rows))
        [Bin(confidence=0.625, accuracy=1.0, num_photos=1),
         Bin(confidence=0.875, accuracy=1.0, num_photos=1)]
    """
    numbers = (outcomes.confidence * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    correct = outcomes.correct.double()
    return [
        Bin(
            float(outcomes.confidence[inside].mean()),
            float(correct[inside].mean()),
            int(inside.sum()),
        )
        for inside in (numbers == number for number in range(NUM_BINS))
        if inside.any()
    ]
