"""A linear probe in closed form for several classes of an image, or for a number."""

from typing import NamedTuple, Unpack

import torch
from torch import Tensor
from torch.nn import functional

from tltool.models.label_loss import LossOptions, label_loss
from tltool.models.ridge_probe import AT_ONCE, SCALES, RidgeProbe, fit_ridge_probe, left_out_rows
from tltool.models.ridge_solution import PENALTIES, RidgeSolution


class TargetProbe(NamedTuple):
    """A ridge regression from standardized features to targets, made into logits.

    Attributes:
        mean: Mean of the training features, ``(D,)``.
        scale: Standard deviation of the training features, ``(D,)``.
        weight: Of the regression, ``(D, K)``.
        intercept: The logits of the mean features, ``(K,)``.
        factor: What makes logits of what is predicted beyond the mean, ``(K,)``.
        penalty: The penalty that leave-one-out chose.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    intercept: Tensor
    factor: Tensor
    penalty: float

    def linear(self) -> tuple[Tensor, Tensor]:
        """Return weight ``(K, D)`` and bias ``(K,)`` of a linear layer."""
        weight = self.factor * self.weight / self.scale[:, None]
        return weight.T, self.intercept - self.mean @ weight


def fit_probe(
    features: Tensor, labels: Tensor, num_classes: int, **loss: Unpack[LossOptions]
) -> RidgeProbe | TargetProbe:
    """Fit the closed-form probe of any objective.

    Args:
        features: Training features, ``(N, D)``.
        labels: Training labels as `label_loss` takes them.
        num_classes: Number of classes; of numbers 1.
        **loss: See `LossOptions`.

    Example:
        >>> import torch
        >>> features = torch.tensor([[0.0, 1.0], [0.1, 0.8], [1.0, 0.1], [0.9, 0.2]])
        >>> numbers = torch.tensor([0.0, 1.0, 9.0, 8.0])
        >>> probe = fit_probe(features, numbers, 1, objective="regression")
        >>> probe_logits(probe, features)[:, 0].round().abs()
        tensor([0., 1., 9., 8.], dtype=torch.float64)
    """
    objective = loss.get("objective", "single_label")
    if objective == "single_label":
        smoothing = loss.get("label_smoothing", 0.0)
        weights = loss.get("class_weights")
        return fit_ridge_probe(
            features, labels, num_classes, class_weights=weights, label_smoothing=smoothing
        )
    targets = labels.double().view(len(labels), num_classes)
    solution = RidgeSolution.of(features, torch.ones(len(features), device=features.device))
    mean = targets.mean(dim=0)
    projected = solution.project(targets - mean)
    rows = left_out_rows(len(features), num_classes)
    fit = _fit_classes if objective == "multi_label" else _fit_numbers
    found = []
    for penalty in PENALTIES:
        left_out = solution.left_out(projected, targets[rows] - mean, penalty, rows)
        found.append(fit(left_out, targets[rows], mean, len(features), loss))
    best = min(range(len(found)), key=lambda number: found[number][0])
    _, intercept, factor = found[best]
    weight = solution.weight(projected, PENALTIES[best])
    return TargetProbe(
        solution.mean, solution.scale, weight, intercept, factor, float(PENALTIES[best])
    )


def probe_logits(probe: RidgeProbe | TargetProbe, features: Tensor) -> Tensor:
    """Return the logits of features ``(N, D)``, ``(N, K)``."""
    weight, bias = probe.linear()
    parts = torch.split(features.double(), AT_ONCE)
    return torch.cat([part @ weight.T + bias for part in parts])


def _fit_numbers(
    left_out: Tensor, targets: Tensor, mean: Tensor, number: int, loss: LossOptions
) -> tuple[float, Tensor, Tensor]:
    """Return the loss of left-out predictions, the intercept, and the factor, which is 1."""
    return float(label_loss(mean + left_out, targets[:, 0], **loss)), mean, torch.ones_like(mean)


def _fit_classes(
    left_out: Tensor, targets: Tensor, mean: Tensor, number: int, loss: LossOptions
) -> tuple[float, Tensor, Tensor]:
    """Return the loss at the best factors, one for each class; its log odds; the factors.

    Near the mean a probability that grows by ``d`` has log odds that grow by ``d / (p (1 - p))``.
    """
    share = mean.clamp(0.5 / number, 1 - 0.5 / number)
    weights, smoothing = loss.get("class_weights"), loss.get("label_smoothing", 0.0)
    weights = None if weights is None else weights.double()
    smooth = targets * (1 - smoothing) + smoothing / 2
    odds = share.logit() if weights is None else share.logit() + weights.clamp_min(1e-12).log()
    factors = SCALES.to(share)[:, None] / (share * (1 - share))  # (S, K)
    losses = torch.stack(
        [
            functional.binary_cross_entropy_with_logits(
                odds + factor * left_out, smooth, pos_weight=weights, reduction="none"
            ).mean(dim=0)
            for factor in factors
        ]
    )
    best = losses.min(dim=0)
    return float(best.values.sum()), odds, factors.gather(0, best.indices[None])[0]
