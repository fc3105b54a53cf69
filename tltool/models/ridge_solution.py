"""Ridge regression in closed form: one decomposition of the features gives every penalty."""

from typing import NamedTuple

import torch
from torch import Tensor

# From nearly no shrinkage to features that hardly count; one step is a factor of about 3.
PENALTIES = torch.logspace(-2, 6, 17, dtype=torch.float64)
_SMALLEST_SCALE = 0.01  # of the standard deviation of a feature, as a share of the usual one


class RidgeSolution(NamedTuple):
    """Standardized features, decomposed, from which the regression of any penalty follows.

    Attributes:
        mean: Mean of the features, ``(D,)``.
        scale: Standard deviation of the features, ``(D,)``; of those that hardly change a hundredth
            of the usual one.
        share: Share of each image in all weight, ``(N,)``.
        u: Left singular vectors of the weighted features, ``(N, R)``.
        s: Singular values, ``(R,)``.
        vt: Right singular vectors, ``(R, D)``.
    """

    mean: Tensor
    scale: Tensor
    share: Tensor
    u: Tensor
    s: Tensor
    vt: Tensor

    @classmethod
    def of(cls, features: Tensor, counts: Tensor) -> "RidgeSolution":
        """Return that of features ``(N, D)``, each image counted so often ``(N,)``.

        Raises:
            ValueError: If the features are not finite.
        """
        if not features.isfinite().all():
            raise ValueError(
                "The backbone gives features that are NaN or infinite. Check its weights and the "
                "preprocessing: tltool doctor."
            )
        x = features.double()
        share = counts.double() / counts.double().sum()
        mean = share @ x
        scale = (share @ (x - mean).square()).sqrt()
        # A feature that hardly changes would get a weight that explodes when the backbone moves it.
        scale = scale.clamp_min(_SMALLEST_SCALE * scale.square().mean().sqrt())
        scale[scale == 0] = 1.0  # All are constant.
        root = (share * len(x)).sqrt()[:, None]
        u, s, vt = torch.linalg.svd(root * (x - mean) / scale, full_matrices=False)
        return cls(mean, scale, share, u, s, vt)

    @property
    def root(self) -> Tensor:
        """What multiplies a row for least squares to count it by its share, ``(N, 1)``."""
        return (self.share * len(self.share)).sqrt()[:, None]

    def project(self, targets: Tensor) -> Tensor:
        """Return targets ``(N, K)``, less their mean, in the directions of the features."""
        return self.u.T @ (self.root * targets)  # (R, K)

    def weight(self, projected: Tensor, penalty: Tensor) -> Tensor:
        """Return the weights ``(D, K)`` of standardized features with a penalty."""
        return self.vt.T @ ((self.s / (self.s.square() + penalty))[:, None] * projected)

    def left_out(self, projected: Tensor, targets: Tensor, penalty: Tensor, rows: Tensor) -> Tensor:
        """Return what all other images predict for some, less the mean, ``(n, K)``.

        It follows from one fit (Hastie et al., 2009, The Elements of Statistical Learning, equation
        7.52).

        Args:
            projected: The targets of all images, see `project`.
            targets: Those of the rows, less the mean, ``(n, K)``.
            penalty: Of the regression.
            rows: Numbers of the images, ``(n,)``.
        """
        u, root = self.u[rows], self.root[rows]
        shrinkage = self.s.square() / (self.s.square() + penalty)
        y = root * targets
        # The intercept takes a share of each row's leverage, 1/N without weights.
        leverage = (u.square() * shrinkage).sum(dim=1) + self.share[rows]
        residual = y - u @ (shrinkage[:, None] * projected)
        residual /= (1 - leverage).clamp_min(1e-9)[:, None]
        return (y - residual) / root.clamp_min(1e-12)
