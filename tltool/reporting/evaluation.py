"""What a run predicts on its evaluation photos, and how sure a share of right ones is."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from tltool.comparison.differences import Difference, estimate_mean, judge
from tltool.data.datamodules.image_datamodule import Part
from tltool.diagnosis.calibration import Bin, confidence_bins
from tltool.diagnosis.confusion import confusion_matrix

QUANTILE = 1.959964
"""Of the normal distribution, for an interval that holds 95 %."""
MAJORITY, PROBE, RUN = "majority class", "closed-form probe", "this run"


class Score(NamedTuple):
    """An accuracy on ``num_photos`` photos."""

    accuracy: float
    num_photos: int

    @property
    def standard_error(self) -> float:
        """The standard error of the accuracy, from the size of the evaluation set."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.num_photos)

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} +- {self.standard_error:.3f}"


@dataclass(frozen=True)
class Evaluation:
    """The predictions of a run on the photos that measure it.

    Attributes:
        part: Which photos these are.
        class_names: Names of the classes.
        probabilities: ``(N, num_classes)``.
        labels: ``(N,)``.
        paths: Where the photos lie.
        names: Their paths from the data's root on.
        groups: The group of each photo, where the data has groups.
        baselines: Whether each baseline is right, ``(N,)``, by its name.
        majority: The class that most training photos have.
    """

    part: Part
    class_names: list[str]
    probabilities: Tensor
    labels: Tensor
    paths: list[str]
    names: list[str]
    groups: list[int] | None
    baselines: Mapping[str, Tensor]
    majority: str

    @property
    def correct(self) -> Tensor:
        """Whether each photo is predicted right, ``(N,)``."""
        return self.probabilities.argmax(dim=1) == self.labels

    @property
    def scores(self) -> dict[str, Score]:
        """The accuracies of the baselines and of the run, by name."""
        return {name: score(correct) for name, correct in self._all_correct.items()}

    @property
    def _all_correct(self) -> dict[str, Tensor]:
        return {**self.baselines, RUN: self.correct}

    def interval(self, name: str = RUN) -> tuple[float, float]:
        """Return the 95 % interval of an accuracy, for other photos of the same kind."""
        return interval(self._all_correct[name], self.groups)

    def against_baselines(self) -> dict[str, Difference]:
        """Return the run's accuracy less that of each baseline, paired over the photos.

        Each is judged by itself: who claims to be better than both needs both, so that their number
        makes no claim more likely by chance.
        """
        return {
            name: judge({RUN: self.correct[None], name: correct[None]}, name, self.groups)[0]
            for name, correct in self.baselines.items()
        }

    @property
    def fingerprint(self) -> str:
        """A hash of the photos' names and classes: equal only where the same photos measure."""
        labels = [self.class_names[label] for label in self.labels.tolist()]
        return fingerprint(self.names, labels)


def score(correct: Tensor) -> Score:
    """Return the share of right photos.

    Args:
        correct: Whether each photo is right, ``(N,)``.
    """
    return Score(correct.double().mean().item(), len(correct))


def interval(correct: Tensor, groups: Sequence[int] | None = None) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy (Wilson, 1927).

    It keeps its width where all photos are right. Where photos belong together, such as those of
    one patient, they count as so many as their spread over the groups is worth.

    Args:
        correct: Whether each photo is right, ``(N,)``.
        groups: The group of each photo.

    Example:
        >>> import torch
        >>> [round(bound, 3) for bound in interval(torch.ones(20))]
        [0.839, 1.0]
    """
    share, number = score(correct)
    effective = float(number)
    if groups is not None:
        error = estimate_mean(correct[None], groups).standard_error
        within = share * (1 - share)
        effective = min(within / error**2, number) if error and within else len(set(groups))
    return wilson(share, effective)


def wilson(share: float, number: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of ``number`` independent trials."""
    square = QUANTILE**2
    center = (share + square / (2 * number)) / (1 + square / number)
    spread = math.sqrt(share * (1 - share) / number + square / (4 * number**2))
    half = QUANTILE / (1 + square / number) * spread
    return max(center - half, 0.0), min(center + half, 1.0)


def fingerprint(names: Sequence[str], labels: Sequence[str]) -> str:
    """Return a hash of photos and their classes that does not depend on their order.

    Example:
        >>> fingerprint(["a", "b"], ["ants", "bees"]) == fingerprint(["b", "a"], ["bees", "ants"])
        True
    """
    digest = hashlib.sha256()
    for name, label in sorted(zip(names, labels, strict=True)):
        for value in (name, label):
            content = value.encode("utf-8", "surrogateescape")
            digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:12]


def names_from_root(paths: Sequence[str], root: Path | None) -> list[str]:
    """Return paths from the data's root on, so that they are the same wherever the data lie.

    Example:
        >>> names_from_root(["photos/val/a.jpg", "elsewhere/b.jpg"], Path("photos"))
        ['val/a.jpg', 'elsewhere/b.jpg']
    """
    inside = (
        Path(path).relative_to(root) if root and Path(path).is_relative_to(root) else Path(path)
        for path in paths
    )
    return [path.as_posix() for path in inside]


def calibration(evaluation: Evaluation) -> tuple[list[Bin], float]:
    """Return the bins of confidence that hold photos, and the expected calibration error.

    Guo et al., 2017, https://arxiv.org/abs/1706.04599.
    """
    confidence = evaluation.probabilities.max(dim=1).values
    bins = confidence_bins(confidence, evaluation.correct)
    gaps = (abs(each.accuracy - each.confidence) * each.num_photos for each in bins)
    return bins, sum(gaps) / len(evaluation.labels)


def confusion(evaluation: Evaluation) -> Tensor:
    """Return how often each class was taken for each, ``(C, C)``, rows are labels."""
    predicted = evaluation.probabilities.argmax(dim=1)
    return confusion_matrix(evaluation.labels, predicted, len(evaluation.class_names))
