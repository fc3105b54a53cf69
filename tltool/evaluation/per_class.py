"""Per-class metrics: precision, recall, F1, confidence and the most frequent mistake."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from tltool.evaluation.confusion import label_counts, mistakes


class ClassMetrics(NamedTuple):
    """How well one class is told from the others.

    Attributes:
        name: Of the class.
        num_images: Images of the class.
        precision: The share of the images predicted as the class that are of it.
        recall: The share of its images that are predicted as it.
        f1: The harmonic mean of both.
        confidence: The mean confidence in the predictions of its images; ``None`` if not known.
        confused_with: The class that its images are most often predicted as; empty without errors.
        num_confused: How often.
    """

    name: str
    num_images: int
    precision: float
    recall: float
    f1: float
    confidence: float | None
    confused_with: str
    num_confused: int


def macro_f1(labeled: Tensor, predicted: Tensor, right: Tensor) -> Tensor:
    """Return the mean F1 score of the classes that occur, in the labels or in the predictions.

    Args:
        labeled: Images of each class, ``(num_classes,)``.
        predicted: Images that are said to be of it.
        right: Those that are.

    Example:
        >>> import torch
        >>> macro_f1(torch.tensor([2, 2, 0]), torch.tensor([1, 3, 0]), torch.tensor([1, 2, 0]))
        tensor(0.7333)
    """
    both = labeled + predicted
    occurs = both > 0
    f1: Tensor = (2 * right[occurs] / both[occurs]).mean()
    return f1


def class_metrics(
    counts: Tensor, class_names: Sequence[str], confidence: Sequence[float] | None = None
) -> list[ClassMetrics]:
    """Return the metrics of each class from a confusion matrix.

    Args:
        counts: ``(num_classes, num_classes)``, rows are labels; sparse or not.
        class_names: Names of the classes.
        confidence: Mean confidence in the predictions of each class.

    Example:
        >>> import torch
        >>> ants, bees = class_metrics(torch.tensor([[1, 0], [1, 1]]), ["ants", "bees"])
        >>> ants.precision, bees.recall, bees.confused_with
        (0.5, 0.5, 'ants')
    """
    labeled, predicted, right = label_counts(counts)
    precision = (right / predicted.clamp_min(1)).tolist()
    recall = (right / labeled.clamp_min(1)).tolist()
    f1 = (2 * right / (predicted + labeled).clamp_min(1)).tolist()
    worst = {m.label: (class_names[m.predicted], m.num_images) for m in reversed(mistakes(counts))}
    sure: Sequence[float | None] = confidence or [None] * len(class_names)
    rows = zip(class_names, labeled.tolist(), precision, recall, f1, sure, strict=True)
    return [ClassMetrics._make([*row, *worst.get(i, ("", 0))]) for i, row in enumerate(rows)]
