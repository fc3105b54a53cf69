"""Leave-one-out predictions of a closed-form probe, for images that it was not fitted on."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tltool.evaluation.left_singular import AT_ONCE, LeftSingularVectors
from tltool.models.ridge_probe import SCALES
from tltool.models.ridge_solution import PENALTIES

_CHOOSING = 1000  # images that penalty and factor are chosen on


class _Part(NamedTuple):
    """Rows that are predicted together.

    Attributes:
        rows: Their numbers, ``(n,)``; all of each group.
        blocks: For each group of several images its place among them.
    """

    rows: Tensor
    blocks: list[slice]


class LeftOutProbe:
    """A ridge regression on features, which predicts each image from all others in closed form.

    What the others predict for an image follows from one decomposition of the features (Hastie et
    al., 2009, The Elements of Statistical Learning, equation 7.52), whatever the labels are: other
    labels cost a product of matrices. Images of one group, such as copies or slices of a patient,
    are left out together. Beside the features, memory does not grow with the number of images, but
    for what is returned.

    Args:
        features: ``(N, D)``.
        groups: The group of each image, ``(N,)``; ``None`` where each is its own.

    Example:
        >>> probe = LeftOutProbe(torch.tensor([[0.0], [0.1], [0.2], [0.8], [0.9], [1.0]]))
        >>> probe.probabilities(torch.eye(2)[[0, 0, 0, 1, 1, 1]]).argmax(dim=1)
        tensor([0, 0, 0, 1, 1, 1])
    """

    def __init__(self, features: Tensor, groups: Tensor | None = None) -> None:
        self._vectors = LeftSingularVectors(features)
        given = torch.arange(len(features)) if groups is None else groups
        _, self._groups = torch.unique(given, return_inverse=True)

    def knows(self, labels: Tensor) -> Tensor:
        """Return for which images ``(N,)`` another group has their class: others are not taught it.

        Example:
            >>> probe = LeftOutProbe(torch.zeros(4, 1), torch.tensor([0, 1, 2, 2]))
            >>> probe.knows(torch.tensor([0, 0, 1, 1]))
            tensor([ True,  True, False, False])
        """
        pairs = torch.stack([labels, self._groups], dim=1)
        kinds = torch.unique(pairs, dim=0)
        num_groups = torch.bincount(kinds[:, 0], minlength=int(labels.max()) + 1)
        return num_groups[labels] > 1

    def probabilities(self, targets: Tensor) -> Tensor:
        """Return what all other groups predict for each image, ``(N, C)``.

        Penalty and scale have the least cross-entropy on the images that they predict.

        Args:
            targets: How much each image is of each class, ``(N, C)``: one-hot, or shares.
        """
        number = len(targets)
        chosen = torch.linspace(0, number - 1, min(number, _CHOOSING)).long()
        labels = targets[chosen].argmax(dim=1)
        losses = [
            functional.cross_entropy(factor * predicted, labels)
            for predicted in self._predicted(targets, PENALTIES, chosen)
            for factor in SCALES
        ]
        best, factor = divmod(int(torch.stack(losses).argmin()), len(SCALES))
        return (SCALES[factor] * self.scores(targets, float(PENALTIES[best]))).softmax(dim=1)

    def scores(self, targets: Tensor, penalty: float) -> Tensor:
        """Return the left-out regression of any targets ``(N, C)``, with one penalty."""
        return self._predicted(targets, torch.tensor([penalty]), torch.arange(len(targets)))[0]

    def _predicted(self, targets: Tensor, penalties: Tensor, asked: Tensor) -> Tensor:
        """Return the left-out regression of some rows with each penalty, ``(P, n, C)``."""
        mean = targets.mean(dim=0, dtype=torch.float64)
        projected = self._vectors.project(targets, mean)
        place = torch.full((len(targets),), -1).index_copy_(0, asked, torch.arange(len(asked)))
        found = torch.zeros(len(penalties), len(asked), targets.shape[1], dtype=torch.float64)
        for part in self._parts(asked):
            is_asked = place[part.rows] >= 0
            u, y = self._vectors.rows(part.rows), targets[part.rows].double()
            squares = u.square()
            for number, penalty in enumerate(penalties.tolist()):
                shrinkage = self._vectors.squares / (self._vectors.squares + penalty)
                residual = y - mean - u @ (shrinkage[:, None] * projected)
                # The intercept takes a share of each row's leverage.
                leverage = squares @ shrinkage + 1 / len(targets)
                left_out = residual / (1 - leverage).clamp_min(1e-9)[:, None]
                for block in part.blocks:
                    own = u[block] * shrinkage.sqrt()
                    ones = own.new_full((len(own), 1), len(targets) ** -0.5)
                    left_out[block] = _solve(torch.cat([own, ones], dim=1), residual[block])
                found[number, place[part.rows[is_asked]]] = (y - left_out)[is_asked]
        return found

    def _parts(self, asked: Tensor) -> list[_Part]:
        """Return rows and all others of their groups by some thousand, group by group."""
        rows = torch.isin(self._groups, self._groups[asked]).nonzero()[:, 0]
        rows = rows[self._groups[rows].argsort(stable=True)]
        sizes = torch.unique_consecutive(self._groups[rows], return_counts=True)[1].tolist()
        parts, start, blocks, length = list[_Part](), 0, list[slice](), 0
        for size in sizes:
            if length and length + size > AT_ONCE:
                parts.append(_Part(rows[start : start + length], blocks))
                start, blocks, length = start + length, [], 0
            if size > 1:
                blocks.append(slice(length, length + size))
            length += size
        return [*parts, _Part(rows[start:], blocks)]


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
