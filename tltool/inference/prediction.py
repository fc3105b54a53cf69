"""What a predictor returns: the prediction of an image, of many images, the metrics of a split."""

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from tltool.evaluation.per_class import ClassMetrics


@dataclass(frozen=True)
class Prediction:
    """What an image shows.

    Attributes:
        label: The most probable class.
        probabilities: Probability of each class by name, the most probable first.
        path: Where the image lies, if it was given by its path.
    """

    label: str
    probabilities: dict[str, float]
    path: str | None = field(default=None, compare=False)

    @property
    def confidence(self) -> float:
        """The probability of the most probable class."""
        return self.probabilities[self.label]


class PredictedImages(NamedTuple):
    """Probabilities of many images, in order.

    Attributes:
        paths: Where they lie.
        probabilities: ``(N, num_classes)``.
    """

    paths: list[str]
    probabilities: Tensor


class SplitMetrics(NamedTuple):
    """What is measured on a split, over all ranks.

    Attributes:
        values: Each metric by name.
        classes: The metrics of each class.
    """

    values: dict[str, float]
    classes: list[ClassMetrics]
