"""Images on which two networks disagree, the surest disagreements first."""

from typing import NamedTuple

from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.predictions import PredictionSet
from tltool.evaluation.regression import RegressionPredictions


class Disagreement(NamedTuple):
    """An image that two networks predict differently.

    Attributes:
        first: Its number in the split as the first network was measured on it.
        second: The same of the second network, whose images may come in another order.
        size: How far the predictions are apart, see `find_disagreements`.
    """

    first: int
    second: int
    size: float


class _Answer(NamedTuple):
    """What a network says of an image: classes and how sure it is of them, or a number."""

    classes: frozenset[str] = frozenset()
    confidence: float = 1.0
    value: float = 0.0


def find_disagreements(first: MeasuredSplit, second: MeasuredSplit) -> list[Disagreement]:
    """Return the images that two networks predict differently, the farthest apart first.

    Of one class for each image that is the confidence of the network that is less sure; of several
    classes the number of those that one network alone says; of numbers their distance.

    Args:
        first: The predictions of one network.
        second: Those of another network on the same images, in any order.

    Raises:
        ValueError: If they were measured on different images.
    """
    if first.fingerprint != second.fingerprint:
        raise ValueError(
            f"The networks were measured on different images: {first.fingerprint} and "
            f"{second.fingerprint}. Give two that were measured on the same ones."
        )
    orders = (
        sorted(range(len(each.names)), key=each.names.__getitem__) for each in (first, second)
    )
    answers, others = _answers(first), _answers(second)
    pairs = [
        Disagreement(index, other, _distance(answers[index], others[other]))
        for index, other in zip(*orders, strict=True)
    ]
    return sorted((each for each in pairs if each.size), key=lambda each: -each.size)


def _answers(found: MeasuredSplit) -> list[_Answer]:
    names, predictions = found.class_names, found.predictions
    if isinstance(predictions, RegressionPredictions):
        return [_Answer(value=value) for value in predictions.predicted.tolist()]
    if isinstance(predictions, PredictionSet):
        pairs = zip(predictions.predicted.tolist(), predictions.confidence.tolist(), strict=True)
        return [_Answer(frozenset([names[label]]), confidence) for label, confidence in pairs]
    rows = [row.nonzero()[:, 0].tolist() for row in predictions.predicted]
    return [_Answer(frozenset(names[label] for label in row)) for row in rows]


def _distance(answer: _Answer, other: _Answer) -> float:
    apart = len(answer.classes ^ other.classes) * min(answer.confidence, other.confidence)
    return apart + abs(answer.value - other.value)
