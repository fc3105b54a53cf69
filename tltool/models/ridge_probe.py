"""A linear probe in closed form: what the frozen features alone can do, without training."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# From nearly no shrinkage to features that hardly count; one step is a factor of about 3.
PENALTIES = torch.logspace(-2, 6, 17, dtype=torch.float64)
SCALES = torch.logspace(0, 1.5, 25, dtype=torch.float64)
"""Factors on the predictions, of which the best makes logits of them."""
CHEAP = 1e10
"""Multiplications that a probe may cost, ``N * D * min(N, D)``: some ten seconds on two cores."""
AT_ONCE = 1000
"""Classes, or rows to predict, that are computed together: not all images times all classes."""
_LEFT_OUT = 4e6  # images times classes that the penalty is chosen on
_SMALLEST_SCALE = 0.01  # of the standard deviation of a feature, as a share of the usual one


class RidgeProbe(NamedTuple):
    """A ridge regression from standardized features to the one-hot label.

    Attributes:
        mean: Mean of the training features, ``(D,)``.
        scale: Standard deviation of the training features, ``(D,)``; of those that hardly change
            a hundredth of the usual one.
        weight: ``(D, num_classes)``.
        bias: ``(num_classes,)``, the share of each class.
        penalty: The penalty that leave-one-out chose.
        factor: What makes logits of the predictions, chosen with it.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    penalty: float
    factor: float

    def predict(self, features: Tensor) -> Tensor:
        """Return the label ``(N,)`` of each row of features ``(N, D)``."""
        standardized = (features.double() - self.mean) / self.scale
        parts = torch.split(standardized, AT_ONCE)
        return torch.cat([(part @ self.weight + self.bias).argmax(dim=1) for part in parts])

    def linear(self) -> tuple[Tensor, Tensor]:
        """Return weight ``(num_classes, D)`` and bias ``(num_classes,)`` of a linear layer.

        Its logits, of features as they are, predict what the probe does.
        """
        weight = self.factor * self.weight / self.scale[:, None]
        return weight.T, self.factor * self.bias - self.mean @ weight


def fit_ridge_probe(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> RidgeProbe:
    """Fit a ridge classifier; its penalty has the least leave-one-out loss, also in closed form.

    What all other images predict for an image follows from one fit (Hastie et al., 2009, The
    Elements of Statistical Learning, equation 7.52). Their cross-entropy, at the best scale of the
    logits, is the loss; it is taken over a thousand images at most.

    Args:
        features: Training features, ``(N, D)``.
        labels: Training labels, ``(N,)``.
        num_classes: Number of classes.
        class_weights: How much an image of each class counts, ``(num_classes,)``; ``None`` for all
            the same.
        label_smoothing: Of the loss.

    Example:
        >>> features = torch.tensor([[0.0, 1.0], [0.1, 0.8], [1.0, 0.1], [0.9, 0.2]])
        >>> fit_ridge_probe(features, torch.tensor([0, 0, 1, 1]), 2).predict(features)
        tensor([0, 0, 1, 1])
    """
    x = features.double()
    counts = torch.ones(len(x)) if class_weights is None else class_weights[labels]
    share = counts.double() / counts.double().sum()  # (N,)
    mean = share @ x
    scale = (share @ (x - mean).square()).sqrt()
    # A feature that hardly changes would get a weight that explodes when the backbone moves it.
    scale = scale.clamp_min(_SMALLEST_SCALE * scale.square().mean().sqrt())
    scale[scale == 0] = 1.0  # All are constant.
    bias = torch.zeros(num_classes, dtype=torch.float64).index_add_(0, labels, share)
    root = (share * len(x)).sqrt()[:, None]  # Least squares of rows that are multiplied by it.
    u, s, vt = torch.linalg.svd(root * (x - mean) / scale, full_matrices=False)
    parts = [
        u.T @ (root * ((labels[:, None] == classes).double() - bias[classes]))
        for classes in torch.split(torch.arange(num_classes), AT_ONCE)
    ]
    regression = _Regression(u, s, torch.cat(parts, dim=1), bias, share)
    number = min(len(x), AT_ONCE, max(int(_LEFT_OUT / num_classes), 1))
    rows = torch.linspace(0, len(x) - 1, number).long()
    targets, weights = labels[rows], None if class_weights is None else class_weights.double()
    losses = []
    for penalty in PENALTIES:
        left_out = regression.left_out(penalty, rows, targets)
        losses += [
            functional.cross_entropy(
                factor * left_out, targets, weight=weights, label_smoothing=label_smoothing
            )
            for factor in SCALES
        ]
    best, factor = divmod(int(torch.stack(losses).argmin()), len(SCALES))
    weight = vt.T @ ((s / (s.square() + PENALTIES[best]))[:, None] * regression.projected)
    return RidgeProbe(mean, scale, weight, bias, float(PENALTIES[best]), float(SCALES[factor]))


class _Regression(NamedTuple):
    """Parts of a weighted regression to one-hot labels, from which that of any penalty follows.

    Attributes:
        u: Left singular vectors of the weighted features, ``(N, R)``.
        s: Singular values, ``(R,)``.
        projected: The weighted labels in their directions, ``(R, num_classes)``.
        bias: The share of each class, ``(num_classes,)``.
        share: Share of each image in all weight, ``(N,)``.
    """

    u: Tensor
    s: Tensor
    projected: Tensor
    bias: Tensor
    share: Tensor

    def left_out(self, penalty: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
        """Return what all other images predict for some, ``(n, num_classes)``.

        Args:
            penalty: Of the regression.
            rows: Numbers of the images, ``(n,)``.
            labels: Their labels, ``(n,)``.
        """
        u, share = self.u[rows], self.share[rows]
        root = (share * len(self.u)).sqrt()[:, None]
        shrinkage = self.s.square() / (self.s.square() + penalty)
        y = root * (functional.one_hot(labels, len(self.bias)) - self.bias)
        # The intercept takes a share of each row's leverage, 1/N without weights.
        leverage = (u.square() * shrinkage).sum(dim=1) + share
        residual = y - u @ (shrinkage[:, None] * self.projected)
        residual /= (1 - leverage).clamp_min(1e-9)[:, None]
        return self.bias + (y - residual) / root.clamp_min(1e-12)
