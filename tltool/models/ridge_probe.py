"""A linear probe in closed form: what the frozen features alone can do, without training."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tltool.models.label_loss import label_loss
from tltool.models.ridge_solution import PENALTIES, RidgeSolution

SCALES = torch.logspace(0, 1.5, 25, dtype=torch.float64)
"""Factors on the predictions, of which the best makes logits of them."""
CHEAP = 1e10
"""Multiplications that a probe may cost, ``N * D * min(N, D)``: some ten seconds on two cores."""
AT_ONCE = 1000
"""Classes, or rows to predict, that are computed together: not all images times all classes."""
_LEFT_OUT = 4e6  # images times classes that the penalty is chosen on


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

    What all other images predict for an image follows from one fit, see `RidgeSolution.left_out`.
    Their cross-entropy, at the best scale of the logits, is the loss; it is taken over a thousand
    images at most.

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
    counts = torch.ones(len(features)) if class_weights is None else class_weights[labels]
    solution = RidgeSolution.of(features, counts)
    bias = torch.zeros(num_classes, dtype=torch.float64).index_add_(0, labels, solution.share)
    parts = [
        solution.project((labels[:, None] == classes).double() - bias[classes])
        for classes in torch.split(torch.arange(num_classes), AT_ONCE)
    ]
    projected = torch.cat(parts, dim=1)
    rows = left_out_rows(len(features), num_classes)
    targets, weights = labels[rows], None if class_weights is None else class_weights.double()
    one_hot = functional.one_hot(targets, num_classes) - bias
    losses = []
    for penalty in PENALTIES:
        left_out = bias + solution.left_out(projected, one_hot, penalty, rows)
        losses += [
            label_loss(
                factor * left_out, targets, class_weights=weights, label_smoothing=label_smoothing
            )
            for factor in SCALES
        ]
    best, factor = divmod(int(torch.stack(losses).argmin()), len(SCALES))
    weight = solution.weight(projected, PENALTIES[best])
    return RidgeProbe(
        solution.mean, solution.scale, weight, bias, float(PENALTIES[best]), float(SCALES[factor])
    )


def left_out_rows(number: int, num_classes: int) -> Tensor:
    """Return the images that the penalty is chosen on, a thousand at most, evenly spread."""
    chosen = min(number, AT_ONCE, max(int(_LEFT_OUT / num_classes), 1))
    return torch.linspace(0, number - 1, chosen).long()
