"""Unknown inputs: how far the features of an image are from all classes, and how unsure it is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tltool.evaluation.finite_features import check_finite_features

MOST_DIRECTIONS = 512
"""So many directions of the features are told apart; the others are as wide as they are on average.
It bounds what a checkpoint keeps: 2.6 MB of 1,280 features."""
LEAST_SIGN = -2.0
"""In standard deviations: a network that is very sure does not outweigh a large distance."""
_AT_ONCE = 1000  # rows
_LEAST_DOUBT = 1e-4  # of a probability: below it differences are rounding
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class FeatureDistance:
    """The Mahalanobis distance of features to the nearest class of the training images.

    All classes share one covariance (Lee et al., 2018, https://arxiv.org/abs/1807.03888), which is
    shrunk, for there may be fewer images than features (Ledoit & Wolf, 2004).

    Attributes:
        means: Of each class that has images, ``(C, D)``.
        directions: Unit vectors of the features, ``(D, R)``.
        variances: Along each of them, ``(R,)``.
        rest: The variance along all others.
    """

    means: Tensor
    directions: Tensor
    variances: Tensor
    rest: float

    def score(self, features: Tensor) -> Tensor:
        """Return the squared distance per feature of each row of ``(N, D)``: the larger the odder.

        Training images have one of 1 or less on average, depending on the shrinkage.
        """
        parts = [self.score_batch(part) for part in torch.split(features, _AT_ONCE)]
        return torch.cat(parts) if parts else features.new_zeros(0)

    def score_batch(self, features: Tensor) -> Tensor:
        """Return `score` without a loop over images, which a graph cannot hold."""
        center = self.means.double().mean(dim=0)
        x, means = features.double() - center, self.means.double() - center
        directions = self.directions.double()
        # As if all directions were as wide as the rest, and what that is wrong by along the others.
        far = _square_distances(x, means, torch.ones_like(center) / self.rest)
        weights = 1 / self.variances.double() - 1 / self.rest
        far = far + _square_distances(x @ directions, means @ directions, weights)  # (N, C)
        return (far.min(dim=1).values.clamp_min(0) / features.shape[1]).float()


@dataclass(frozen=True)
class UnknownScore:
    """How likely an image is of none of the known classes: the larger, the more.

    Two signs are added: the distance of its features to the nearest class, and the probability that
    the most probable class is not it. Each by itself misses what the other sees: an image between
    two classes is near to both, and one far from all may look sure. Both count as logarithms, in
    standard deviations over known images that did not train, and neither says less than two below
    the average: what is far from all is unknown, however sure the network is. Beside each sign
    alone, nearest neighbors, and other ways to add them, this one was chosen on other images of
    Fashion-MNIST; see ``scripts/benchmark/trust.py`` for how it does elsewhere.

    Attributes:
        distance: Of the features.
        centers: Means of both signs over known images, ``(2,)``.
        scales: Their standard deviations, ``(2,)``.
    """

    distance: FeatureDistance
    centers: Tensor
    scales: Tensor

    def score(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """Return the score of each image, ``(N,)``: 0 on average for known ones.

        Args:
            features: ``(N, D)``.
            probabilities: ``(N, num_classes)``.
        """
        return self._sum(_signs(self.distance.score(features), probabilities))

    def score_batch(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """Return `score` without a loop over images, which a graph cannot hold."""
        return self._sum(_signs(self.distance.score_batch(features), probabilities))

    def _sum(self, signs: Tensor) -> Tensor:
        return ((signs - self.centers) / self.scales).clamp_min(LEAST_SIGN).sum(dim=1)

    def state_dict(self) -> dict[str, Any]:
        """Return it as tensors and plain data, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "UnknownScore":
        """Return what `state_dict` was made of."""
        return cls(**{**state, "distance": FeatureDistance(**state["distance"])})


def fit_unknown_score(
    distance: FeatureDistance, features: Tensor, probabilities: Tensor
) -> UnknownScore:
    """Fit how both signs spread over known images that did not train.

    Args:
        distance: See `fit_feature_distance`.
        features: ``(N, D)``.
        probabilities: ``(N, num_classes)``.

    Example:
        >>> known = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
        >>> distance = fit_feature_distance(known, torch.zeros(60).long())
        >>> score = fit_unknown_score(distance, known, torch.full((60, 2), 0.5))
        >>> near, far = score.score(torch.tensor([[0.5, 0.5], [9.0, 9.0]]), torch.full((2, 2), 0.5))
        >>> bool(near < 1 < far)
        True
    """
    signs = _signs(distance.score(features), probabilities)
    return UnknownScore(distance, signs.mean(dim=0), signs.std(dim=0).clamp_min(_LEAST_SPREAD))


def _signs(distances: Tensor, probabilities: Tensor) -> Tensor:
    far = distances.clamp_min(1e-12).log()
    unsure = (1 - probabilities.float().max(dim=1).values + _LEAST_DOUBT).log()
    return torch.stack([far, unsure], dim=1)  # (N, 2)


def _square_distances(rows: Tensor, others: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums of squared differences ``(N, C)``; weights may be negative."""
    weighted = rows * weights
    lengths = (weighted * rows).sum(dim=1)[:, None] + (others.square() @ weights)
    return lengths - 2 * weighted @ others.T


def fit_feature_distance(features: Tensor, labels: Tensor) -> FeatureDistance:
    """Fit means and covariance to features of training images.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)``.

    Raises:
        ValueError: If a feature is not finite.

    Example:
        >>> features = torch.tensor([[0.0, 0.0], [0.2, 0.1], [5.0, 5.0], [5.2, 4.9]])
        >>> distance = fit_feature_distance(features, torch.tensor([0, 0, 1, 1]))
        >>> near, far = distance.score(torch.tensor([[5.1, 5.0], [0.0, 5.0]]))
        >>> bool(far > 10 * near)
        True
    """
    check_finite_features(features)
    x = features.double()
    classes, index = torch.unique(labels, return_inverse=True)
    means = torch.zeros(len(classes), x.shape[1], dtype=x.dtype).index_add_(0, index, x)
    means /= index.bincount()[:, None]
    centered = x - means[index]
    average = float(centered.square().mean()) or 1.0
    shrinkage = ledoit_wolf_shrinkage(centered)
    squares, directions = _widest(centered, MOST_DIRECTIONS)
    left = centered.square().sum() - squares.sum()
    number = x.shape[1] - len(squares)
    rest = float(left) / len(x) / number if number else 0.0
    variances = (1 - shrinkage) * squares / len(x) + shrinkage * average
    return FeatureDistance(
        means.float(),
        directions.float(),
        variances.float(),
        max((1 - shrinkage) * rest + shrinkage * average, 1e-6 * average),
    )


def ledoit_wolf_shrinkage(centered: Tensor) -> float:
    """Return how much a covariance is shrunk to a multiple of the identity (Ledoit & Wolf, 2004).

    Args:
        centered: Rows around their mean, ``(N, D)``.
    """
    number, width = centered.shape
    lengths = centered.square().sum(dim=1)
    gram = centered.T @ centered if width < number else centered @ centered.T
    square = float(gram.square().sum()) / number**2  # of the covariance's Frobenius norm
    average = float(lengths.sum()) / number / width
    spread = square - width * average**2
    noise = (float(lengths.square().sum()) / number - square) / number
    return min(max(noise / spread, 1e-3), 1.0) if spread > 0 else 1.0


def _widest(centered: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the largest squared singular values of rows, and their directions."""
    is_wide = len(centered) < centered.shape[1]
    gram = centered @ centered.T if is_wide else centered.T @ centered
    squares, vectors = torch.linalg.eigh(gram)
    kept = squares > 1e-9 * squares[-1].clamp_min(1e-30)
    squares, vectors = squares[kept][-most:], vectors[:, kept][:, -most:]
    return squares, (centered.T @ (vectors / squares.sqrt()) if is_wide else vectors)
