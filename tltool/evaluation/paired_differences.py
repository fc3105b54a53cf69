"""Paired differences: means over seeds and images, their error, p values and Holm's correction."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import torch
from scipy.special import stdtr, stdtrit
from torch import Tensor

from tltool.evaluation.score import ACCURACY, Score

CONFIDENCE = 0.95
POWER = 0.8
"""Probability with which a difference that exists is to be found."""


def number_groups(names: Sequence[str] | None) -> list[int] | None:
    """Return a number for each image's group, as they first occur; ``None`` without groups.

    Example:
        >>> number_groups(["patient 7", "patient 2", "patient 7"])
        [0, 1, 0]
    """
    if not names:
        return None
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over seeds and images, and how far it may be off.

    Attributes:
        mean: The mean.
        standard_error: Its standard error, over other images and other seeds.
        degrees_of_freedom: How well the standard error itself is known.
        seed_variance: Variance between seeds that no number of images takes away.
        image_variance: Variance between images (or groups of them), with these seeds.
        images_per_unit: Number of images in a group; 1 without groups.
        num_seeds: Number of seeds.
    """

    mean: float
    standard_error: float
    degrees_of_freedom: float
    seed_variance: float
    image_variance: float
    images_per_unit: float
    num_seeds: int
    num_differing: int
    """Number of images or groups whose mean is not 0."""
    smallest: float = -math.inf
    """The smallest value that the mean can have: -1 for a difference of accuracies."""
    largest: float = math.inf
    """The largest one."""

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        low, high = self.mean - self.half_width, self.mean + self.half_width
        return max(low, self.smallest), min(high, self.largest)

    @property
    def half_width(self) -> float:
        """Half of the interval, before the values that the mean can have cut it off."""
        quantile = float(stdtrit(self.degrees_of_freedom, (1 + CONFIDENCE) / 2))
        return quantile * self.standard_error

    @property
    def p_value(self) -> float:
        """The two-sided probability of a mean this far from 0 if the true one is 0."""
        if self.standard_error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stdtr(self.degrees_of_freedom, -abs(self.mean) / self.standard_error))


@dataclass(frozen=True)
class Difference:
    """The score of one head less that of another, paired over seeds and images."""

    name: str
    reference: str
    estimate: MeanEstimate
    p_value: float
    """After Holm's correction for all differences of the comparison."""
    score: Score = ACCURACY

    @property
    def is_finding(self) -> bool:
        """Whether it is beyond noise."""
        return self.p_value < 1 - CONFIDENCE

    @property
    def gain(self) -> float:
        """By how much it is better: the mean difference, of an error the other way round."""
        return -self.estimate.mean if self.score.smaller_is_better else self.estimate.mean


def estimate_mean(scores: Tensor, groups: Sequence[int] | None = None) -> MeanEstimate:
    """Return the mean of scores, with an error that counts both images and seeds as a sample.

    Scores are right or wrong (1 or 0), what else each image contributes to a score, or differences
    of them. Images and seeds are crossed random effects, as cases and readers are in medicine: the
    variance of the mean is ``(MS_seed + max(MS_image - MS_rest, 0)) / (S N)`` with the degrees of
    freedom of Hillis, 2007, https://doi.org/10.1002/sim.2532. The variance between seeds is never
    taken to be negative. With one seed there is no such variance to see, and the error is that of
    the images alone.

    Args:
        scores: One for each seed and image, ``(S, N)``.
        groups: Group of each image: images of one group are alike, so groups are what is sampled;
            ``None`` if each image stands for itself.

    Example:
        >>> scores = torch.tensor([[1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]])
        >>> estimate = estimate_mean(scores)
        >>> estimate.mean, round(estimate.standard_error, 3)
        (0.625, 0.239)
    """
    scores = scores.double()
    mean = scores.mean()
    differing = (scores.mean(dim=0) != 0).nonzero()[:, 0]
    images_per_unit = 1.0
    if groups is not None:
        differing = torch.unique(torch.as_tensor(groups)[differing])
        scores = _sum_groups(scores, torch.as_tensor(groups))
        images_per_unit = len(groups) / scores.shape[1]
    num_seeds, num_units = scores.shape
    of_images, of_seeds = scores.mean(dim=0), scores.mean(dim=1)
    image_variance = float(of_images.var()) if num_units > 1 else math.inf
    seed_variance, freedom = 0.0, float(num_units - 1)
    if num_seeds > 1 and num_units > 1:
        rest = scores - of_images - of_seeds[:, None] + mean
        ms_rest = float(rest.square().sum()) / ((num_seeds - 1) * (num_units - 1))
        ms_seed = max(num_units * float(of_seeds.var()), ms_rest)
        total = ms_seed + max(num_seeds * image_variance - ms_rest, 0.0)
        seed_variance = (ms_seed - ms_rest) / num_units
        if ms_seed > 0:
            freedom = min(freedom, (num_seeds - 1) * (total / ms_seed) ** 2)
        variance = total / (num_seeds * num_units)
    else:
        variance = image_variance / num_units
    return MeanEstimate(
        mean=float(mean),
        standard_error=math.sqrt(variance),
        degrees_of_freedom=max(freedom, 1.0),
        seed_variance=seed_variance,
        image_variance=image_variance,
        images_per_unit=images_per_unit,
        num_seeds=num_seeds,
        num_differing=len(differing),
    )


def _sum_groups(scores: Tensor, groups: Tensor) -> Tensor:
    """Return one score for each group, whose mean and variance are those of the images' mean."""
    _, index = torch.unique(groups, return_inverse=True)
    num_groups = int(index.max()) + 1
    mean = scores.mean()
    sums = scores.new_zeros(len(scores), num_groups).index_add(1, index, scores - mean)
    return mean + sums * num_groups / len(groups)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm, 1979, https://www.jstor.org/stable/4615733).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def judge(
    scores: Mapping[str, Tensor],
    reference: str | None,
    groups: Sequence[int] | None = None,
    *,
    score: Score = ACCURACY,
) -> list[Difference]:
    """Return the differences between heads, paired over seeds and images.

    No difference is surer than the sign test allows, in which all images that differ are on one
    side: where only a few do, their variance is too small by chance, and the t test trusts it. For
    the same reason the error of a difference of accuracies counts two images more, one that the
    first head alone has right and one that the second has: Bonett and Price, 2012,
    https://doi.org/10.3102/1076998611411915. Images that are all alike have an error, too. Among
    groups each of the two is one of its own, and the error is at least that of the groups alone.

    Args:
        scores: Whether each image is right, or what else it contributes to a score, by the head's
            name, ``(num_seeds, num_images)``; the same seeds and images for all.
        reference: The head that all others are compared with; ``None`` for all pairs.
        groups: Group of each image, see `estimate_mean`.
        score: What they are scores of.
    """
    pairs = (
        [(second, first) for first, second in itertools.combinations(scores, 2)]
        if reference is None
        else [(name, reference) for name in scores if name != reference]
    )
    estimates = [
        _difference(scores[name].double() - scores[other].double(), groups, score)
        for name, other in pairs
    ]
    corrected = holm([max(e.p_value, 2.0 ** (1 - e.num_differing)) for e in estimates])
    return [
        Difference(*pair, estimate, p_value, score)
        for pair, estimate, p_value in zip(pairs, estimates, corrected, strict=True)
    ]


def estimate_score(
    scores: Tensor, groups: Sequence[int] | None = None, *, score: Score = ACCURACY
) -> MeanEstimate:
    """Return the score of one head.

    See `estimate_mean`. Images that are all right have an error, too: that of an accuracy counts
    four images more, two of them right (Agresti & Coull, 1998, https://doi.org/10.2307/2685469).

    Args:
        scores: Whether each image is right, or what else it contributes to the score,
            ``(num_seeds, num_images)``.
        groups: Group of each image, see `estimate_mean`.
        score: What they are scores of.
    """
    estimate = estimate_mean(scores, groups)
    if score is ACCURACY:
        is_alike = bool(scores.min() == scores.max())
        if groups is not None and is_alike:  # A group tells as much as one image.
            scores, groups = scores[:, : len(set(groups))], None
        estimate = _with_more_images(estimate, scores, groups, values=(1, 1, 0, 0))
    largest = math.inf if score.smaller_is_better else 1.0
    return replace(estimate, smallest=0.0, largest=largest)


def _difference(scores: Tensor, groups: Sequence[int] | None, score: Score) -> MeanEstimate:
    estimate = estimate_mean(scores, groups)
    if score is not ACCURACY:
        return estimate
    estimate = _with_more_images(estimate, scores, groups, values=(1, -1))
    return replace(estimate, smallest=-1.0, largest=1.0)


def _with_more_images(
    estimate: MeanEstimate, scores: Tensor, groups: Sequence[int] | None, values: Sequence[int]
) -> MeanEstimate:
    """Return an estimate whose error counts some images more, each of them a group of its own."""
    added = scores.new_tensor(values).expand(len(scores), -1)
    more = groups
    if groups is not None:
        more = [*groups, *range(max(groups) + 1, max(groups) + 1 + len(values))]
    error = estimate_mean(torch.cat([scores, added], dim=1), more).standard_error
    if groups is not None:  # Of few large groups more of one image each may lower it.
        error = max(error, estimate.standard_error)
    return replace(estimate, standard_error=error)


def images_needed(estimate: MeanEstimate, effect: float, num_comparisons: int = 1) -> int | None:
    """Return the number of images with which a difference would be found in 4 of 5 cases.

    Args:
        estimate: A difference as it was measured, for its variances.
        effect: The true difference to find.
        num_comparisons: Number of differences that Holm's correction is for.

    Returns:
        ``None`` if no number of images is enough with so few seeds.

    Example:
        >>> difference = MeanEstimate(0.01, 0.02, 99, 0.0, 0.04, 1.0, num_seeds=3, num_differing=9)
        >>> images_needed(difference, effect=0.01)
        3140
    """
    normal = NormalDist()
    error = (1 - CONFIDENCE) / num_comparisons
    factor = (normal.inv_cdf(1 - error / 2) + normal.inv_cdf(POWER)) ** 2
    # The sign test: so many images must differ, a share `effect` of all at the least.
    fewest = math.ceil(1 + math.log2(1 / error)) / effect
    left = effect**2 - factor * estimate.seed_variance / estimate.num_seeds
    if left <= 0:
        return None
    needed = max(factor * estimate.image_variance / left, fewest)
    return math.ceil(needed * estimate.images_per_unit)
