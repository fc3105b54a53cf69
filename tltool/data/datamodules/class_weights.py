"""Class weights of the loss, by class counts or by name."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tltool._lookup import lookup
from tltool.data.datamodules.yaml_names import by_name

_LISTED = 20  # classes that a message names

ClassWeights = Literal["balanced", "effective_number"] | Sequence[float] | Mapping[Any, float]
"""Names are text, or what YAML makes of one: 0 of the class ``0``, false of ``no``."""


def class_weights(
    choice: ClassWeights, counts: Sequence[int], class_names: Sequence[str]
) -> list[float]:
    """Return the weight of each class in the loss.

    Weights trade accuracy for the accuracy of rare classes. Measured with a linear head on four
    grades of solar cells (shares .57, .11, .04, .27): mean accuracy of the classes .425 without,
    .475 with ``effective_number``, .511 with ``balanced``; accuracy .638, .580, .543. On two
    balanced data sets they made no difference (`scripts/benchmark/losses.py elpv elpv-probability
    FOLDER`, e188eb9).

    Args:
        choice: ``"balanced"``, ``"effective_number"``, a weight for each class in the order of the
            labels, or weights by class name, where the other classes get 1.
        counts: Number of training images of each class.
        class_names: Names of the classes in the order of the labels.

    Raises:
        ValueError: If a name is unknown, a weight is negative, or there are too few or too many.

    Example:
        >>> class_weights("balanced", [30, 10], ["ants", "bees"])
        [0.6666666666666666, 2.0]
        >>> class_weights({"bees": 3.0}, [30, 10], ["ants", "bees"])
        [1.0, 3.0]
    """
    if isinstance(choice, str):
        rules = {"balanced": balanced_weights, "effective_number": effective_number_weights}
        return lookup(rules, choice, kind="class weights")(counts)
    if isinstance(choice, Mapping):
        given = by_name(choice, class_names)
        choice = [given.get(name, 1.0) for name in class_names]
    weights = [float(weight) for weight in choice]
    is_finite = all(map(math.isfinite, weights))
    if len(weights) != len(class_names) or not is_finite or min(weights) < 0 or not any(weights):
        raise ValueError(
            f"Class weights must be finite, at least 0, and one above, for each of "
            f"{_first(class_names)}; got [{_first(weights)}]. `balanced` weights rare ones up."
        )
    return weights


def positive_weights(choice: str, counts: Sequence[int], num_images: int | None) -> list[float]:
    """Return the weight of the images with a class, where an image may have several.

    Args:
        choice: ``balanced``: the images with a class count as much as those without it.
        counts: Number of training images with each class.
        num_images: Number of training images.

    Raises:
        ValueError: If the choice is another one, or the number is not known.

    Example:
        >>> positive_weights("balanced", [25, 50, 0], 100)
        [3.0, 1.0, 1.0]
    """
    lookup({"balanced": None}, choice, kind="class weights of several classes for each image")
    if num_images is None:
        raise ValueError(
            "`class_weights: balanced` needs `num_images`: pass "
            'num_images=len(data.samples("train")).'
        )
    # A class that no image has, or all of them, has nothing to balance.
    return [(num_images - count) / count if 0 < count < num_images else 1.0 for count in counts]


def _first(values: Sequence[object]) -> str:
    more = f" and {len(values) - _LISTED:,} more" if len(values) > _LISTED else ""
    return ", ".join(map(str, values[:_LISTED])) + more


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Return weights that make the images of each class count the same in sum.

    The mean weight over the images is 1, as in scikit-learn's ``class_weight="balanced"``. A class
    without images gets 0.

    Example:
        >>> balanced_weights([30, 10])
        [0.6666666666666666, 2.0]
    """
    return mean_one([1 / count if count else 0.0 for count in counts], counts)


def effective_number_weights(counts: Sequence[int], *, beta: float = 0.999) -> list[float]:
    """Return weights by the effective number of images, in which look-alikes count less.

    Between no weights (``beta`` = 0) and `balanced_weights` (``beta`` near 1), see Cui et al.,
    2019, https://arxiv.org/abs/1901.05555. The mean weight over the images is 1. A class without
    images gets 0.

    Args:
        counts: Number of training images of each class.
        beta: In ``[0, 1)``; ``1 / (1 - beta)`` is the largest effective number.

    Example:
        >>> [round(weight, 3) for weight in effective_number_weights([3000, 10])]
        [0.761, 72.657]
    """
    if not 0 <= beta < 1:
        raise ValueError(f"`beta` must be in [0, 1), got {beta}. The paper uses 0.9 to 0.9999.")
    return mean_one([(1 - beta) / (1 - beta**count) if count else 0.0 for count in counts], counts)


def mean_one(weights: Sequence[float], counts: Sequence[int]) -> list[float]:
    """Return weights times a factor that makes their mean over the images 1.

    Raises:
        ValueError: If no class with a weight above 0 has images.

    Example:
        >>> mean_one([3.0, 1.0], [10, 30])
        [2.0, 0.6666666666666666]
    """
    total = sum(weight * count for weight, count in zip(weights, counts, strict=True))
    if not total:
        raise ValueError("Class weights need training images of a class whose weight is above 0.")
    return [weight * sum(counts) / total for weight in weights]
