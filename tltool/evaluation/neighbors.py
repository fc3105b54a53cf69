"""Nearest neighbors of images by the cosine similarity of their features."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_ROWS = 65_536  # whose similarities are computed at once


class Neighbors(NamedTuple):
    """The images that look most alike to the network, the nearest first.

    Attributes:
        indices: ``(Q, k)``, into the features that were searched.
        similarities: ``(Q, k)``, cosines in ``[-1, 1]``.
    """

    indices: Tensor
    similarities: Tensor


def nearest_neighbors(queries: Tensor, features: Tensor, k: int = 5) -> Neighbors:
    """Return for each query the rows of features with the largest cosine similarity.

    Of equal ones the first. Rows of length zero are like nothing: their similarity is 0.

    Args:
        queries: ``(Q, num_features)``.
        features: ``(N, num_features)``.
        k: How many; all where there are fewer.

    Raises:
        ValueError: If ``k`` is below 1, there are no features, or the widths differ.

    Example:
        >>> found = nearest_neighbors(torch.tensor([[1.0, 0.0]]), torch.eye(2) * 9, k=1)
        >>> found.indices.tolist(), found.similarities.tolist()
        ([[0]], [[1.0]])
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}.")
    if not len(features) or queries.shape[1] != features.shape[1]:
        raise ValueError(
            f"Features of shape {tuple(features.shape)} have no neighbors for queries of shape "
            f"{tuple(queries.shape)}. Compute both with one network."
        )
    directions = functional.normalize(queries.float(), dim=1)
    best = torch.empty(len(queries), 0)
    places = torch.empty(len(queries), 0, dtype=torch.long)
    for start in range(0, len(features), _ROWS):
        rows = functional.normalize(features[start : start + _ROWS].float(), dim=1)
        found = torch.arange(start, start + len(rows)).expand(len(queries), -1)
        best = torch.cat([best, (directions @ rows.T).clamp(-1, 1)], dim=1)
        places = torch.cat([places, found], dim=1)
        order = best.argsort(dim=1, descending=True, stable=True)[:, :k]
        best, places = best.gather(1, order), places.gather(1, order)
    return Neighbors(places, best)
