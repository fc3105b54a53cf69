"""Map of features in two dimensions, by their principal components."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class FeatureMap(NamedTuple):
    """Where images lie in the plane in which their features differ most.

    Attributes:
        points: ``(n, 2)``.
        indices: The number of each image among those of its split.
        explained: Share of the variance that the two directions have.
    """

    points: Tensor
    indices: list[int]
    explained: float


def map_features(features: Tensor, indices: Sequence[int]) -> FeatureMap:
    """Project features on their first two principal components.

    Each direction points to where its largest entry is positive, so the same features give the same
    map. The plane keeps distances as far as a plane can, and invents no clusters, as t-SNE may
    (Wattenberg et al., 2016, https://distill.pub/2016/misread-tsne/).

    Args:
        features: ``(n, num_features)``.
        indices: The number of each image.

    Example:
        >>> features = torch.tensor([[0.0, 0, 5], [3, 0, 5], [0, 1, 5], [3, 1, 5]])
        >>> found = map_features(features, range(4))
        >>> found.points.round(decimals=3).tolist(), round(found.explained, 3)
        ([[-1.5, -0.5], [1.5, -0.5], [-1.5, 0.5], [1.5, 0.5]], 1.0)
    """
    centered = features.double() - features.double().mean(dim=0)
    _, lengths, directions = torch.linalg.svd(centered, full_matrices=False)
    directions, variances = directions[:2], lengths.square()
    largest = directions.abs().argmax(dim=1, keepdim=True)
    points = centered @ (directions * directions.gather(1, largest).sign()).T
    if points.shape[1] < 2:  # One image, or one feature.
        points = torch.cat([points, torch.zeros(len(points), 2 - points.shape[1])], dim=1)
    total = float(variances.sum())
    explained = float(variances[:2].sum()) / total if total else 0.0
    return FeatureMap(points.float(), list(indices), explained)
