"""Candidates for the weights that a training leaves: how good each is, and which is chosen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from tltool._lookup import lookup
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.paired_differences import MeanEstimate, estimate_mean, number_groups
from tltool.evaluation.predictions import Predictions
from tltool.evaluation.regression import RegressionPredictions

#: How one of several candidates is chosen.
Choice = Literal["best", "one_standard_error", "trained"]

_NO_SCORE = (-math.inf, -math.inf)  # Of weights whose metrics are not finite.

#: Running statistics of batch norms: those of a training, their average, or estimated anew.
Statistics = Literal["own", "averaged", "estimated"]


@dataclass(frozen=True)
class Candidate:
    """Weights that were measured on the validation images.

    Attributes:
        name: What they are, such as ``start`` or ``best epoch``.
        share: The share of the end, on the line from the start to it; ``None`` for other averages.
        metrics: What was measured, by name, among them ``val/loss``.
        predictions: On the images.
        statistics: Its running statistics of batch norms.
    """

    name: str
    share: float | None
    metrics: Mapping[str, float]
    predictions: Predictions
    statistics: Statistics = "own"

    def __str__(self) -> str:
        of_norms = ", estimated statistics" if self.statistics == "estimated" else ""
        return f"{blend_name(self.name, self.share)}{of_norms}"

    def score(self, monitor: str, mode: str) -> tuple[float, float]:
        """Return what candidates are ordered by: the metric, among equals the loss.

        Raises:
            ValueError: If the metric was not measured.
        """
        value = lookup(self.metrics, monitor, kind="metric to choose by")
        signed = value if mode == "max" else -value
        numbers = (signed, -self.metrics["val/loss"])
        return numbers if all(map(math.isfinite, numbers)) else _NO_SCORE


def blend_name(name: str, share: float | None) -> str:
    """Return what weights are in words.

    Example:
        >>> blend_name("start", 0.0), blend_name("best epoch", 0.5)
        ('start', '0.5 of best epoch')
    """
    return name if share in (None, 0, 1) else f"{share:g} of {name}"


def choose_candidate(
    candidates: Sequence[Candidate],
    *,
    monitor: str = "val/accuracy",
    mode: str = "max",
    rule: Choice = "best",
    groups: Sequence[str] | None = None,
) -> Candidate:
    """Choose one of several candidates that were measured on the same images.

    The best of many is better by luck too, and of few images luck decides. Where the start is among
    them, the other two rules ask by how much, see `paired_gain`: with ``one_standard_error`` it is
    kept unless the best one gains more than one standard error over it (the rule of Breiman et al.,
    1984, for the simpler of two models); with ``trained`` the best of the others is taken, unless
    the start gains more than one over that, and is better by the metric too: of a macro F1 the gain
    is that in accuracy, which a start that knows the largest class alone may have.

    Args:
        candidates: At least one; of equal ones the first is chosen.
        monitor: The metric to choose by.
        mode: ``max`` or ``min``.
        rule: How to choose.
        groups: What each image of the split belongs to, where images of one group are alike.

    Example:
        >>> from tltool.evaluation.predictions import PredictionSet
        >>> labels = torch.tensor([0, 1, 1])
        >>> def candidate(name, share, probabilities):
        ...     found = PredictionSet.from_probabilities(torch.tensor(probabilities), labels)
        ...     metrics = {"val/accuracy": found.accuracy, "val/loss": 1.0}
        ...     return Candidate(name, share, metrics, found)
        >>> start = candidate("start", 0.0, [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
        >>> end = candidate("best epoch", 1.0, [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
        >>> [str(choose_candidate([end, start], rule=rule)) for rule in get_args(Choice)]
        ['best epoch', 'start', 'best epoch']
    """
    lookup(dict.fromkeys(get_args(Choice)), rule, kind="choice")
    start = next((each for each in candidates if each.share == 0), None)
    scores = [each.score(monitor, mode) for each in candidates]
    trained = [
        each
        for each, score in zip(candidates, scores, strict=True)
        if each is not start and score > _NO_SCORE
    ]
    competing = trained if rule == "trained" and trained else candidates
    best = max(competing, key=lambda candidate: candidate.score(monitor, mode))
    if rule == "best" or start is None or start is best:
        return best
    if rule == "trained" and start.score(monitor, mode) <= best.score(monitor, mode):
        return best
    simple, other = (start, best) if rule == "one_standard_error" else (best, start)
    gain = paired_gain(other, simple, monitor=monitor, groups=groups)
    return other if gain.mean > gain.standard_error else simple


def paired_gain(
    candidate: Candidate,
    reference: Candidate,
    *,
    monitor: str | None = None,
    groups: Sequence[str] | None = None,
) -> MeanEstimate:
    """Return the gain of a candidate over another one on the same images, with its error.

    Of a candidate that is chosen by its loss, the mean difference of losses; else that of being
    right, of several classes for each image that in mean average precision, and of numbers that in
    errors, squared ones unless the mean absolute error is monitored. Positive is better. Averages
    of weights are less sure of themselves than what they are made of, so their loss moves where no
    prediction does, and a few confident mistakes decide about it.

    Args:
        candidate: The one.
        reference: The other.
        monitor: The metric that is chosen by; ``None`` for the usual one of such predictions.
        groups: See `choose_candidate`.
    """
    scores = [_scores(each.predictions, monitor) for each in (candidate, reference)]
    positions = candidate.predictions.positions.tolist()
    numbers = number_groups(groups and [groups[position] for position in positions])
    return estimate_mean((scores[0] - scores[1])[None], numbers)


def _scores(predictions: Predictions, monitor: str | None) -> Tensor:
    """Return what each image adds to how good predictions are, ``(N,)``."""
    if isinstance(predictions, MultiLabelPredictions):
        of_labels = {
            "val/loss": _log_likelihood(predictions),
            "val/accuracy": (predictions.predicted == (predictions.targets > 0)).double().mean(1),
            "val/exact_match": predictions.exact.double(),
        }
        return of_labels.get(monitor or "", predictions.per_image)
    if isinstance(predictions, RegressionPredictions):
        errors = predictions.per_image
        return -errors if monitor in (None, "val/mae") else -errors.square()
    if monitor is not None and monitor.endswith("/loss"):
        smallest = torch.finfo(torch.float32).tiny
        return predictions.of_label.double().clamp_min(smallest).log()
    return predictions.correct.double()


def _log_likelihood(predictions: MultiLabelPredictions) -> Tensor:
    probabilities = predictions.probabilities.double()
    has = predictions.targets > 0
    of_label = torch.where(has, probabilities, 1 - probabilities)
    return of_label.clamp_min(torch.finfo(torch.float32).tiny).log().mean(dim=1)
