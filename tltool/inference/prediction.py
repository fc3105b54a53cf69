"""What a predictor returns: the prediction of an image, of many images, the metrics of a split."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from tltool.evaluation.multi_label import LabelMetrics, joined_names, predicted_classes
from tltool.evaluation.per_class import ClassMetrics
from tltool.evaluation.prediction_kind import PredictionKind


@dataclass(frozen=True)
class Prediction:
    """What an image shows.

    Attributes:
        label: The most probable class; where an image may have several, those that are predicted,
            joined by a semicolon; of a number the number as text.
        probabilities: Probability of each class by name, the most probable first; empty of a
            number.
        path: Where the image lies, if it was given by its path.
        value: The number, where that is what is predicted.
        unknown_score: How likely it is of none of the classes, the larger the more; ``None`` where
            the checkpoint does not know, or views are averaged.
        is_unknown: Whether that is beyond what 95 % of the known images stay below.
    """

    label: str
    probabilities: dict[str, float]
    path: str | None = field(default=None, compare=False)
    value: float | None = None
    unknown_score: float | None = None
    is_unknown: bool | None = None

    @property
    def confidence(self) -> float:
        """The probability of the most probable class; NaN of a number, which has none."""
        return max(self.probabilities.values(), default=math.nan)


class PredictedImages(NamedTuple):
    """Probabilities of many images, in order.

    Attributes:
        paths: Where they lie.
        probabilities: ``(N, num_classes)``; of a regression the numbers ``(N, 1)``.
    """

    paths: list[str]
    probabilities: Tensor


class SplitMetrics(NamedTuple):
    """What is measured on a split, over all ranks.

    Attributes:
        values: Each metric by name.
        classes: The metrics of each class; none where labels are numbers.
    """

    values: dict[str, float]
    classes: list[ClassMetrics] | list[LabelMetrics]


def make_prediction(
    output: Tensor,
    class_names: Sequence[str],
    kind: PredictionKind,
    path: str | None = None,
    **unknown: Any,
) -> Prediction:
    """Return what an image shows.

    Args:
        output: Probabilities ``(num_classes,)``, or a number ``(1,)``.
        class_names: Names of the classes.
        kind: What is predicted.
        path: Where the image lies.
        **unknown: The last two attributes of `Prediction`.

    Example:
        >>> import torch
        >>> kind = PredictionKind(2, "multi_label")
        >>> make_prediction(torch.tensor([0.75, 0.5]), ["ants", "bees"], kind).label
        'ants;bees'
    """
    if kind.objective == "regression":
        value = float(output)
        return Prediction(f"{value:.6g}", {}, path, value, **unknown)
    named = zip(class_names, output.tolist(), strict=True)
    ranked = sorted(named, key=lambda pair: -pair[1])
    label = ranked[0][0]
    if kind.objective == "multi_label":
        label = joined_names(predicted_classes(output, kind.thresholds), class_names)
    return Prediction(label, dict(ranked), path, **unknown)
