"""Prediction sets that hold the true class as often as asked: split conformal prediction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


def least_images(coverage: float) -> int:
    """Return how many images a coverage needs, for all of them to say something about the next one.

    Raises:
        ValueError: If the coverage is no share.

    Example:
        >>> least_images(0.9), least_images(0.99)
        (9, 99)
    """
    if not 0 < coverage < 1:
        raise ValueError(
            f"A coverage is the share of images whose set holds their class, above 0 and below 1, "
            f"got {coverage:g}. Set it to 0.9, for example."
        )
    return max(math.ceil(coverage / (1 - coverage) - 1e-9), 1)


def most_coverage(num_images: int) -> float:
    """Return the largest coverage that so many images can promise, in whole percent.

    Example:
        >>> most_coverage(40)
        0.97
    """
    return math.floor(100 * num_images / (num_images + 1)) / 100


def score_quantile(scores: Tensor, coverage: float) -> float:
    """Return what the score of a further image is at most, with the asked probability.

    Vovk et al., 2005; Papadopoulos et al., 2002: the images and the further one are exchangeable.

    Args:
        scores: Of images that the network was not trained on, ``(N,)``.
        coverage: The probability.

    Returns:
        Infinity where the images are too few, see `least_images`.

    Example:
        >>> score_quantile(torch.arange(1, 10), 0.9), score_quantile(torch.arange(8), 0.9)
        (9.0, inf)
    """
    if len(scores) < least_images(coverage):
        return math.inf
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    return float(scores.sort().values[rank - 1])


@dataclass(frozen=True)
class ConformalScores:
    """How improbable the classes of labeled images are to a network, from which sets follow.

    The score of a class is one minus its probability, which makes the smallest sets on average
    (Sadinle et al., 2019, https://arxiv.org/abs/1609.00451). The promise holds for further images
    of the same kind, if these ones have neither trained the network nor chosen it.

    Attributes:
        scores: One minus the probability of its own class, of each image, ``(N,)``.
        labels: ``(N,)``.

    Example:
        >>> probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
        >>> known = ConformalScores.of(probabilities, torch.tensor([0, 1, 1, 1]))
        >>> prediction_sets(torch.tensor([[0.55, 0.45]]), known.thresholds(0.8, 2))
        tensor([[True, True]])
    """

    scores: Tensor
    labels: Tensor

    @classmethod
    def of(cls, probabilities: Tensor, labels: Tensor) -> "ConformalScores":
        """Return the scores of labeled images.

        Args:
            probabilities: ``(N, num_classes)``.
            labels: ``(N,)``.
        """
        return cls(1 - probabilities.gather(1, labels[:, None])[:, 0], labels)

    def thresholds(self, coverage: float, num_classes: int, *, by_class: bool = False) -> Tensor:
        """Return up to which score a class is in a set, ``(num_classes,)``.

        Args:
            coverage: The share of images whose set holds their class.
            num_classes: Number of classes.
            by_class: Promise the share for the images of each class, not for all together. A class
                with too few images is in every set: its threshold is infinite.

        Raises:
            ValueError: If there are too few images for this coverage.
        """
        if by_class:
            found = [
                score_quantile(self.scores[self.labels == c], coverage) for c in range(num_classes)
            ]
        else:
            found = [score_quantile(self.scores, coverage)] * num_classes
        if min(found) == math.inf:
            counts = self.labels.bincount(minlength=num_classes)
            number = int(counts.max()) if by_class else len(self.labels)
            raise ValueError(
                f"A coverage of {coverage:g} needs at least {least_images(coverage)} images that "
                f"chose nothing{' of a class' if by_class else ''}, and there are {number}. Ask "
                f"for {most_coverage(number):g} or less, or validate on more images."
            )
        return torch.tensor(found, dtype=self.scores.dtype)


def prediction_sets(probabilities: Tensor, thresholds: Tensor) -> Tensor:
    """Return which classes are in the set of each image, ``(N, num_classes)``.

    The most probable class always is: an empty set would tell nobody anything. So the coverage of a
    network that is right more often than asked is its accuracy.

    Args:
        probabilities: ``(N, num_classes)``.
        thresholds: See `ConformalScores.thresholds`.
    """
    sets = 1 - probabilities <= thresholds.to(probabilities.device, probabilities.dtype)
    return sets.scatter(1, probabilities.argmax(dim=1, keepdim=True), True)


class SetCounts(NamedTuple):
    """How often sets hold the class of an image, and how large they are.

    Attributes:
        num_images: Of each class, ``(num_classes,)``.
        covered: Those whose set holds their class.
        sizes: Sum of the sizes of their sets.
        single: Those whose set is one class.
    """

    num_images: Tensor
    covered: Tensor
    sizes: Tensor
    single: Tensor

    @classmethod
    def of(cls, sets: Tensor, labels: Tensor) -> "SetCounts":
        """Count the sets ``(N, num_classes)`` of labeled images.

        Example:
            >>> sets = torch.tensor([[True, False], [True, True], [True, False]])
            >>> found = SetCounts.of(sets, torch.tensor([0, 1, 1]))
            >>> round(found.coverage, 3), round(found.size, 3), found.class_coverage
            (0.667, 1.333, [1.0, 0.5])
        """
        sizes = sets.sum(dim=1)
        covered = sets.gather(1, labels[:, None])[:, 0]
        values = (torch.ones_like(sizes), covered, sizes, sizes == 1)
        return cls(*(_by_class(value, labels, sets.shape[1]) for value in values))

    @classmethod
    def sum(cls, parts: Sequence["SetCounts"]) -> "SetCounts":
        """Return the counts of several parts together."""
        return cls(*(torch.stack(each).sum(dim=0) for each in zip(*parts, strict=True)))

    @property
    def coverage(self) -> float:
        """The share of images whose set holds their class."""
        return float(self.covered.sum() / self.num_images.sum())

    @property
    def size(self) -> float:
        """The mean number of classes in a set."""
        return float(self.sizes.sum() / self.num_images.sum())

    @property
    def single_share(self) -> float:
        """The share of sets of one class."""
        return float(self.single.sum() / self.num_images.sum())

    @property
    def class_coverage(self) -> list[float]:
        """The coverage of each class; NaN where it has no image."""
        shares: list[float] = (self.covered / self.num_images).tolist()
        return shares


def _by_class(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    return torch.zeros(num_classes, dtype=torch.float64).index_add_(
        0, labels.cpu(), values.double().cpu()
    )
