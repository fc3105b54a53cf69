"""How a unit's weights move where all its inputs have one sign."""

import copy
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Mechanism:
    """How the first layer moves.

    Args:
        equal_signs: Share of pairs of a unit's weights whose gradients for one row agree in sign.
        cosines: Cosine of each two successive updates on all rows, for each seed.
    """

    equal_signs: float
    cosines: Sequence[Sequence[float]]

    @property
    def cosine(self) -> float:
        """The mean cosine, NaN if nothing moved."""
        numbers = [each for seed in self.cosines for each in seed if math.isfinite(each)]
        return statistics.fmean(numbers) if numbers else math.nan


def equal_signs(network: nn.Module, features: Tensor, labels: Tensor) -> float:
    """Return how often two weights of a unit of the first layer have gradients of equal sign.

    The gradient of a weight for one row is the input times the error of the unit, so that inputs
    of one sign give all weights of the unit gradients of one sign (LeCun et al., 1998, section
    4.3). Pairs in which a gradient is 0 do not count.

    Args:
        network: A `Head`; its gradients are lost.
        features: ``(B, num_features)``; each row has a gradient of its own.
        labels: ``(B,)``.

    Returns:
        The share of the pairs, NaN if there is none.
    """
    equal, pairs = 0.0, 0.0
    for row, label in zip(features, labels, strict=True):
        gradient = _gradients(network, row[None], label[None])[0]  # (width, num_features)
        positive = (gradient > 0).sum(dim=1).double()
        negative = (gradient < 0).sum(dim=1).double()
        equal += float((_pairs(positive) + _pairs(negative)).sum())
        pairs += float(_pairs(positive + negative).sum())
    return equal / pairs if pairs else math.nan


def turns(
    network: nn.Module, features: Tensor, labels: Tensor, *, rate: float, steps: int
) -> list[float]:
    """Return the cosine between each two successive updates of the first layer.

    1 is straight on, -1 is straight back. The updates are plain gradient descent on all rows at
    once, so that no choice of rows turns them.

    Args:
        network: A `Head`; it is left as it is.
        features: ``(B, num_features)``.
        labels: ``(B,)``.
        rate: Learning rate.
        steps: Number of updates.

    Returns:
        ``(steps - 1)`` cosines; NaN where an update is zero, or no number.
    """
    network = copy.deepcopy(network)
    cosines, before = [], None
    for _ in range(steps):
        update = _descend(network, features, labels, rate)[0].flatten()
        if before is not None:
            length = float(update.norm() * before.norm())
            cosines.append(float(update @ before) / length if length else math.nan)
        before = update
    return cosines


def walks(
    network: nn.Module,
    features: Tensor,
    labels: Tensor,
    *,
    rate: float,
    inputs: tuple[int, int],
) -> Tensor:
    """Return the path of two weights of each unit of the first layer, one update for each row.

    Args:
        network: A `Head`; it is left as it is.
        features: ``(B, num_features)``, in the order of the updates.
        labels: ``(B,)``.
        rate: Learning rate.
        inputs: Which two features the weights belong to.

    Returns:
        ``(width, B + 1, 2)``, from the start, which is 0.
    """
    network = copy.deepcopy(network)
    steps = [
        _descend(network, row[None], label[None], rate)[0][:, list(inputs)]
        for row, label in zip(features, labels, strict=True)
    ]
    path = torch.stack(steps, dim=1).cumsum(dim=1)  # (width, B, 2)
    return functional.pad(path, (0, 0, 1, 0))


def _descend(
    network: nn.Module, features: Tensor, labels: Tensor, rate: float
) -> tuple[Tensor, ...]:
    """Make a step and return it, the first layer's weights in front."""
    updates = tuple(-rate * gradient for gradient in _gradients(network, features, labels))
    with torch.no_grad():
        for parameter, update in zip(network.parameters(), updates, strict=True):
            parameter.add_(update)
    return updates


def _gradients(network: nn.Module, features: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    loss = functional.cross_entropy(network.train()(features), labels)
    return torch.autograd.grad(loss, list(network.parameters()))


def _pairs(number: Tensor) -> Tensor:
    return number * (number - 1) / 2
