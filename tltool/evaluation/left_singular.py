"""Left singular vectors of standardized features, computed for some rows at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

AT_ONCE = 2000
"""Rows of double precision that are held at once, beside the features as they are."""
_LEAST = 1e-10  # of the largest squared singular value: what is smaller is rounding
_SMALLEST_SCALE = 0.01  # of the usual standard deviation of a feature, see `fit_ridge_probe`


class LeftSingularVectors:
    """The matrix ``U`` of a singular value decomposition, ``(N, R)``, of standardized features.

    Of more images than features it is not held: all rows follow from the features and one product.

    Args:
        features: ``(N, D)``; not copied, and never whole in double precision if ``N`` is above
            ``D``.

    Attributes:
        squares: The squared singular values, ``(R,)``.

    Example:
        >>> vectors = LeftSingularVectors(torch.tensor([[0.0], [1.0], [2.0], [3.0]]))
        >>> u = vectors.rows(torch.arange(4))
        >>> u.shape, round(float(u.square().sum()), 6)
        (torch.Size([4, 1]), 1.0)
    """

    def __init__(self, features: Tensor) -> None:
        self._features = features
        self._mean = sum(part.sum(dim=0) for part in self._chunks()) / len(features)
        squares = sum((part - self._mean).square().sum(dim=0) for part in self._chunks())
        scale = torch.as_tensor(squares / len(features)).sqrt()
        scale = scale.clamp_min(_SMALLEST_SCALE * float(scale.square().mean().sqrt()))
        self._scale = scale.clamp_min(1e-12)  # All are constant.
        self._whole: Tensor | None = None
        if len(features) <= features.shape[1]:
            x = self._standardized(features.double())
            self.squares, self._whole = _decomposed(x @ x.T)
            return
        gram = sum(x.T @ x for x in map(self._standardized, self._chunks()))
        self.squares, vectors = _decomposed(torch.as_tensor(gram))
        self._basis = vectors / self.squares.sqrt()  # (D, R)

    def rows(self, rows: Tensor) -> Tensor:
        """Return some of its rows, ``(n, R)``."""
        if self._whole is not None:
            return self._whole[rows]
        return self._standardized(self._features[rows].double()) @ self._basis

    def project(self, targets: Tensor, mean: Tensor) -> Tensor:
        """Return ``U^T (y - mean)`` of targets ``(N, C)``, ``(R, C)``."""
        if self._whole is not None:
            return self._whole.T @ (targets.double() - mean)
        parts = zip(self._chunks(), torch.split(targets, AT_ONCE), strict=True)
        products = sum(self._standardized(x).T @ (y.double() - mean) for x, y in parts)
        return self._basis.T @ products

    def _chunks(self) -> Iterator[Tensor]:
        return (part.double() for part in torch.split(self._features, AT_ONCE))

    def _standardized(self, x: Tensor) -> Tensor:
        return (x - self._mean) / self._scale


def _decomposed(gram: Tensor) -> tuple[Tensor, Tensor]:
    squares, vectors = torch.linalg.eigh(gram)
    kept = squares > _LEAST * squares[-1]
    return squares[kept], vectors[:, kept]
