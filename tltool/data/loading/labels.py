"""Labels of images: a class, several classes, or a number; and the statistics of numbers."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tltool._objective import SEPARATOR

Label = int | float | tuple[float, ...]
"""The index of a class; a number; or for each class 1.0 if the image has it, else 0.0."""

MOST_LEVELS = 12
"""A target with at most so many values is ordinal."""


def label_text(label: Label, class_names: Sequence[str]) -> str:
    """Return a label as a cell of a table has it.

    Example:
        >>> [label_text(label, ["ants", "bees"]) for label in (1, (1.0, 1.0), (0.0, 0.0), 0.25)]
        ['bees', 'ants;bees', '', '0.25']
    """
    if isinstance(label, tuple):
        has = zip(class_names, label, strict=True)
        return SEPARATOR.join(name for name, value in has if value)
    return repr(label) if isinstance(label, float) else class_names[label]


def label_tensor(labels: Sequence[Label]) -> Tensor:
    """Return labels as a batch has them: ``(N,)``, or ``(N, num_classes)`` of several classes.

    Example:
        >>> label_tensor([0, 1]), label_tensor([(1.0, 0.0)]), label_tensor([0.25])
        (tensor([0, 1]), tensor([[1., 0.]]), tensor([0.2500]))
    """
    return torch.tensor(labels)


def count_classes(labels: Sequence[Label], num_classes: int) -> list[int]:
    """Return the number of images of each class; of numbers, that of all.

    Example:
        >>> count_classes([(1.0, 1.0), (0.0, 1.0)], 2), count_classes([0.5, 0.2], 1)
        ([1, 2], [2])
    """
    if not labels or isinstance(labels[0], float):
        return [len(labels)] * num_classes
    found = label_tensor(labels)
    if found.ndim == 2:
        counts: list[int] = found.sum(dim=0).long().tolist()
        return counts
    return found.bincount(minlength=num_classes)[:num_classes].tolist()


@dataclass(frozen=True)
class TargetStats:
    """What a regression knows of the numbers that it learns, from the training images.

    Attributes:
        mean: Their mean.
        std: Their standard deviation, above 0.
        levels: Their values, ascending, where there are at most `MOST_LEVELS` of them (the target
            is ordinal then); else ``None``.

    Example:
        >>> TargetStats.of([0.0, 0.0, 1.0, 1.0])
        TargetStats(mean=0.5, std=0.5, levels=(0.0, 1.0))
    """

    mean: float = 0.0
    std: float = 1.0
    levels: tuple[float, ...] | None = None

    @classmethod
    def of(cls, labels: Sequence[Label]) -> "TargetStats":
        """Return those of labels that are numbers.

        Raises:
            ValueError: If all of them are the same.
        """
        numbers = [float(label) for label in labels if not isinstance(label, tuple)]
        values = sorted(set(numbers))
        if len(values) < 2:
            raise ValueError(
                f"All {len(numbers)} training images have the target {values[0]:g}, so there is "
                "nothing to learn. Give images with other values."
            )
        mean = math.fsum(numbers) / len(numbers)
        variance = math.fsum((number - mean) ** 2 for number in numbers) / len(numbers)
        levels = tuple(values) if len(values) <= MOST_LEVELS else None
        return cls(mean, math.sqrt(variance), levels)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "TargetStats":
        """Return those that `plain` has written down."""
        levels = plain.get("levels")
        return cls(plain["mean"], plain["std"], None if levels is None else tuple(levels))

    def plain(self) -> dict[str, Any]:
        """Return plain data, for a checkpoint."""
        levels = None if self.levels is None else list(self.levels)
        return {**asdict(self), "levels": levels}
