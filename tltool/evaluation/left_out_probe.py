"""Leave-one-out predictions of a closed-form probe, for images that it was not fitted on."""

import torch
from torch import Tensor
from torch.nn import functional

from tltool.models.ridge_probe import SCALES
from tltool.models.ridge_solution import PENALTIES

_LEAST = 1e-10  # of the largest squared singular value: what is smaller is rounding
_SMALLEST_SCALE = 0.01  # of the usual standard deviation of a feature, see `fit_ridge_probe`
_CHOOSING = 1000  # images that penalty and factor are chosen on


class LeftOutProbe:
    """A ridge regression on features, which predicts each image from all others in closed form.

    What the others predict for an image follows from one decomposition of the features (Hastie et
    al., 2009, The Elements of Statistical Learning, equation 7.52), whatever the labels are: other
    labels cost a product of matrices. Images of one group, such as copies or slices of a patient,
    are left out together.

    Args:
        features: ``(N, D)``.
        groups: The group of each image, ``(N,)``; ``None`` where each is its own.

    Example:
        >>> probe = LeftOutProbe(torch.tensor([[0.0], [0.1], [0.2], [0.8], [0.9], [1.0]]))
        >>> probe.probabilities(torch.eye(2)[[0, 0, 0, 1, 1, 1]]).argmax(dim=1)
        tensor([0, 0, 0, 1, 1, 1])
    """

    def __init__(self, features: Tensor, groups: Tensor | None = None) -> None:
        x = features.double()
        x = x - x.mean(dim=0)
        scale = x.square().mean(dim=0).sqrt()
        scale = scale.clamp_min(_SMALLEST_SCALE * float(scale.square().mean().sqrt()))
        x /= scale.clamp_min(1e-12)  # All are constant.
        self._u, self._squares = _left_singular(x)  # (N, R), (R,)
        self._u_squares = self._u.square()
        self._blocks = _blocks(groups)

    def probabilities(self, targets: Tensor) -> Tensor:
        """Return what all other groups predict for each image, ``(N, C)``.

        Penalty and scale have the least cross-entropy on the images that they predict.

        Args:
            targets: How much each image is of each class, ``(N, C)``: one-hot, or shares.
        """
        number = len(targets)
        rows = torch.linspace(0, number - 1, min(number, _CHOOSING)).long()
        labels = targets[rows].argmax(dim=1)
        losses = []
        for penalty in PENALTIES:
            chosen = self.scores(targets, float(penalty))[rows]
            losses += [functional.cross_entropy(factor * chosen, labels) for factor in SCALES]
        best, factor = divmod(int(torch.stack(losses).argmin()), len(SCALES))
        return (SCALES[factor] * self.scores(targets, float(PENALTIES[best]))).softmax(dim=1)

    def scores(self, targets: Tensor, penalty: float) -> Tensor:
        """Return the left-out regression of any targets ``(N, C)``, with one penalty."""
        y = targets.double()
        mean = y.mean(dim=0)
        shrinkage = self._squares / (self._squares + penalty)
        residual = y - mean - self._u @ (shrinkage[:, None] * (self._u.T @ (y - mean)))
        # The intercept takes a share of each row's leverage.
        leverage = self._u_squares @ shrinkage + 1 / len(y)
        left_out = residual / (1 - leverage).clamp_min(1e-9)[:, None]
        for rows in self._blocks:
            part = self._u[rows] * shrinkage.sqrt()
            part = torch.cat([part, part.new_full((len(rows), 1), len(y) ** -0.5)], dim=1)
            left_out[rows] = _solve(part, residual[rows])
        return y - left_out


def _left_singular(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the left singular vectors of a matrix, and its squared singular values."""
    is_wide = len(x) <= x.shape[1]
    squares, vectors = torch.linalg.eigh(x @ x.T if is_wide else x.T @ x)
    kept = squares > _LEAST * squares[-1]
    squares, vectors = squares[kept], vectors[:, kept]
    return (vectors if is_wide else x @ (vectors / squares.sqrt())), squares


def _blocks(groups: Tensor | None) -> list[Tensor]:
    """Return the rows of each group of several images."""
    if groups is None:
        return []
    _, index, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    rows = torch.split(index.argsort(stable=True), counts.tolist())
    return [each for each in rows if len(each) > 1]


def _solve(part: Tensor, residual: Tensor) -> Tensor:
    """Return ``(1 - A A^T)^-1 r``, by the smaller of both ways to write it."""
    rows, columns = part.shape
    small = part @ part.T if rows <= columns else part.T @ part
    matrix = torch.eye(len(small), dtype=part.dtype) - small
    if rows <= columns:
        solved: Tensor = torch.linalg.solve(matrix, residual)
        return solved
    inner: Tensor = torch.linalg.solve(matrix, part.T @ residual)
    return residual + part @ inner
