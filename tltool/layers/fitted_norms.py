"""Normalizations that are fitted once on the training features."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class FittedNorm(nn.Module):
    """An affine map of features that is fitted once on the training features.

    Its numbers are buffers, so they follow in the checkpoint; before they are fitted, or loaded,
    they are NaN and ``forward`` raises.

    Args:
        num_features: Number of features.

    Shape:
        - Input: ``(B, num_features)``
        - Output: ``(B, num_features)``
    """

    mean: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.register_buffer("mean", torch.full((num_features,), torch.nan))
        self._is_known_fitted = False

    @property
    def is_fitted(self) -> bool:
        """Whether the numbers are there, fitted or loaded."""
        return not bool(self.mean.isnan().any())

    @torch.no_grad()
    def fit_(self, features: Tensor) -> "FittedNorm":
        """Fit the map to the training features, in place.

        Fit it to the same features on every rank: nothing here talks to the others.

        Args:
            features: The features ``(N, num_features)`` of all training images.

        Returns:
            The same module.

        Raises:
            ValueError: If the features have another shape, are too few, or are not finite.
        """
        wrong = None
        if features.ndim != 2 or features.shape[1] != self.num_features:
            shapes = f"shape (N, {self.num_features}), got {tuple(features.shape)}"
            wrong = f"needs {shapes}. Pass pooled features, one row for each image."
        elif len(features) < 2:
            wrong = f"needs at least 2 images to fit, got {len(features)}. Set `input_norm: l2`."
        elif not features.isfinite().all():
            wrong = "got features that are NaN or infinite. Check the weights and preprocessing."
        if wrong:
            raise ValueError(f"{type(self).__name__} {wrong}")
        mean = features.mean(dim=0, dtype=torch.float64)
        self._fit_scale(features.detach(), mean)
        self.mean.copy_(mean)
        self._is_known_fitted = True
        return self

    def _fit_scale(self, features: Tensor, mean: Tensor) -> None:
        """Fit the linear part of the map; there is none."""

    def apply_scale(self, rows: Tensor) -> Tensor:
        """Return the linear part of the map, applied to rows ``(*, num_features)``."""
        return rows

    def check_fitted(self) -> None:
        """Raise unless the numbers are there.

        Raises:
            RuntimeError: If nothing was fitted or loaded.
        """
        if self._is_known_fitted:  # Looked at once, as looking makes a GPU wait.
            return
        if not self.is_fitted:
            raise RuntimeError(
                f"{type(self).__name__} in front of the head is not fitted yet. Call "
                "`head.input_norm.fit_(features)` with the training features (N, "
                f"{self.num_features}), or load a checkpoint."
            )
        self._is_known_fitted = True

    def forward(self, features: Tensor) -> Tensor:
        """Return the normalized features.

        Raises:
            RuntimeError: If nothing was fitted or loaded.
        """
        self.check_fitted()
        return self.apply_scale(features - self.mean)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._is_known_fitted = False  # What was loaded may come from an unfitted module.

    def extra_repr(self) -> str:
        """Return what ``print`` shows of it."""
        return f"{self.num_features}, is_fitted={self.is_fitted}"


class Center(FittedNorm):
    """Subtract the mean of the training features.

    All inputs of one sign make the gradients of a unit's weights all of one sign, and the descent
    zig-zags (LeCun et al., 1998, section 4.3, https://doi.org/10.1007/3-540-49430-8_2).

    Example:
        >>> Center(2).fit_(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))(torch.tensor([[4.0, 4.0]]))
        tensor([[ 2., -1.]])
    """


class Standardize(FittedNorm):
    """Subtract the mean of the training features and divide by their standard deviation.

    As scikit-learn's ``StandardScaler``: a feature that is constant in training is only centered.

    Example:
        >>> norm = Standardize(2).fit_(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> norm(torch.tensor([[4.0, 4.0]]))
        tensor([[ 2., -1.]])
    """

    scale: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.register_buffer("scale", torch.full((num_features,), torch.nan))

    def _fit_scale(self, features: Tensor, mean: Tensor) -> None:
        squares = sum(chunk.square().sum(dim=0) for chunk in _centered_chunks(features, mean))
        variance = torch.as_tensor(squares) / len(features)
        # A constant column has a tiny variance from rounding; this bound is scikit-learn's.
        epsilon = torch.finfo(mean.dtype).eps * len(features)
        bound = epsilon * variance + (epsilon * mean) ** 2
        self.scale.copy_(torch.where(variance <= bound, 1.0, variance.sqrt()))

    def apply_scale(self, rows: Tensor) -> Tensor:
        """Return the rows divided by the standard deviations."""
        return rows / self.scale


class Whiten(FittedNorm):
    """Turn and stretch the training features so that they are uncorrelated, each of variance 1.

    The symmetric form (ZCA), which changes the features least (Kessy et al., 2018,
    https://arxiv.org/abs/1512.00809). It wants many more images than features: with 1,280 features
    of 244 images a head fitted the training images in one or two epochs and did much worse on
    others than without it (.63 to .77 against .93 to .94, `scripts/benchmark/README.md`).

    Args:
        num_features: Number of features.
        eps: Added to each variance, relative to the mean variance. Directions in which the features
            hardly vary are noise, and without it they count as much as the others; needed wherever
            there are fewer images than features.

    Example:
        >>> features = torch.randn(500, 2) @ torch.tensor([[3.0, 1.0], [0.0, 1.0]])
        >>> Whiten(2, eps=0.0).fit_(features)(features).T.cov().round(decimals=2).abs()
        tensor([[1., 0.],
                [0., 1.]])
    """

    matrix: Tensor

    def __init__(self, num_features: int, *, eps: float = 1e-2) -> None:
        super().__init__(num_features)
        if eps < 0:
            raise ValueError(f"`eps` of whiten must be at least 0, got {eps}.")
        self.eps = eps
        self.register_buffer("matrix", torch.full((num_features, num_features), torch.nan))

    def _fit_scale(self, features: Tensor, mean: Tensor) -> None:
        scatter = sum(chunk.T @ chunk for chunk in _centered_chunks(features, mean))
        variances, directions = torch.linalg.eigh(torch.as_tensor(scatter) / len(features))
        stretched = variances.clamp(min=0) + self.eps * variances.mean()
        if stretched.min() <= 1e-12 * stretched.max():
            raise ValueError(
                f"The features of {len(features)} images do not vary in every one of "
                f"{self.num_features} directions, so they cannot be whitened without `eps`. Set "
                "{name: whiten, eps: 0.01}."
            )
        self.matrix.copy_(directions @ torch.diag(stretched.rsqrt()) @ directions.T)

    def apply_scale(self, rows: Tensor) -> Tensor:
        """Return the rows times the whitening matrix, which is symmetric."""
        return rows @ self.matrix  # (*, num_features)


def _centered_chunks(features: Tensor, mean: Tensor) -> Iterator[Tensor]:
    """Yield centered features in float64, a few at a time, as a copy of all may not fit."""
    for start in range(0, len(features), 4096):
        yield features[start : start + 4096].double() - mean
