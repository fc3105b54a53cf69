"""A linear probe in closed form: what the frozen features alone can do, without training."""

from typing import NamedTuple

import torch
from torch import Tensor

# From nearly no shrinkage to features that hardly count; one step is a factor of about 3.
PENALTIES = torch.logspace(-2, 6, 17, dtype=torch.float64)
AT_ONCE = 1000
"""Classes, or rows to predict, that are computed together: not all images times all classes."""


class RidgeProbe(NamedTuple):
    """A ridge regression from standardized features to the one-hot label.

    Attributes:
        mean: Mean of the training features, ``(D,)``.
        scale: Standard deviation of the training features, ``(D,)``.
        weight: ``(D, num_classes)``.
        bias: ``(num_classes,)``, the share of each class.
        penalty: The penalty that leave-one-out chose.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    penalty: float

    def predict(self, features: Tensor) -> Tensor:
        """Return the label ``(N,)`` of each row of features ``(N, D)``."""
        standardized = (features.double() - self.mean) / self.scale
        parts = torch.split(standardized, AT_ONCE)
        return torch.cat([(part @ self.weight + self.bias).argmax(dim=1) for part in parts])


def fit_ridge_probe(features: Tensor, labels: Tensor, num_classes: int) -> RidgeProbe:
    """Fit a ridge classifier; its penalty has the least leave-one-out error, also in closed form.

    The leave-one-out error of a linear smoother needs one fit (Hastie et al., 2009, The Elements of
    Statistical Learning, equation 7.52).

    Args:
        features: Training features, ``(N, D)``.
        labels: Training labels, ``(N,)``.
        num_classes: Number of classes.

    Example:
        >>> features = torch.tensor([[0.0, 1.0], [0.1, 0.8], [1.0, 0.1], [0.9, 0.2]])
        >>> fit_ridge_probe(features, torch.tensor([0, 0, 1, 1]), 2).predict(features)
        tensor([0, 0, 1, 1])
    """
    x = features.double()
    scale, mean = torch.std_mean(x, dim=0, correction=0)
    scale[scale == 0] = 1.0  # A constant feature says nothing.
    x = (x - mean) / scale
    bias = labels.bincount(minlength=num_classes).double() / len(labels)
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    errors, projections = torch.zeros(len(PENALTIES), dtype=torch.float64), []
    for classes in torch.split(torch.arange(num_classes), AT_ONCE):
        y = (labels[:, None] == classes).double() - bias[classes]  # (N, AT_ONCE)
        projections.append(u.T @ y)
        found = [_leave_one_out_error(u, s, projections[-1], y, p) for p in PENALTIES]
        errors += torch.stack(found) * len(classes)
    projected = torch.cat(projections, dim=1)  # (min(N, D), num_classes)
    penalty = PENALTIES[errors.argmin()]
    weight = vt.T @ ((s / (s.square() + penalty))[:, None] * projected)
    return RidgeProbe(mean, scale, weight, bias, float(penalty))


def _leave_one_out_error(
    u: Tensor, s: Tensor, projected: Tensor, y: Tensor, penalty: Tensor
) -> Tensor:
    shrinkage = s.square() / (s.square() + penalty)
    residual = y - u @ (shrinkage[:, None] * projected)
    # The intercept takes 1/N of each sample's leverage.
    leverage = (u.square() * shrinkage).sum(dim=1) + 1 / len(u)
    return (residual / (1 - leverage).clamp_min(1e-9)[:, None]).square().mean()
