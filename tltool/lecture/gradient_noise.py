"""How far the gradient of a batch is from that of all rows."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Noise(NamedTuple):
    """How far the gradients of batches are from the whole one.

    Attributes:
        error: Root mean square of ``|g_B - g| / |g|``; NaN where no gradient is left.
        cosine: Mean cosine of the angle between them; NaN likewise.
    """

    error: float
    cosine: float


def gradient_noise(
    head: nn.Module, features: Tensor, labels: Tensor, *, batch_size: int, draws: int, seed: int
) -> Noise:
    """Return how far the gradients of random batches are from that of all rows.

    The batches together hold every row equally often, and a row may come twice in one: a batch may
    be larger than the data, and the error of ``B`` rows is that of one by ``sqrt(B)``.

    Args:
        head: It is left in evaluation mode, without gradients.
        features: ``(N, num_features)``.
        labels: ``(N,)``.
        batch_size: Rows in a batch.
        draws: Number of batches at least; so many that every row comes.
        seed: Of the draws.
    """
    number = max(draws, math.ceil(len(features) / batch_size))
    # Once a network has learned, a few rows make up the gradient: drawn each for itself they would
    # often be missed. From a deck that holds every row equally often they are not.
    generator = torch.Generator().manual_seed(seed)
    deck = torch.randperm(number * batch_size, generator=generator) % len(features)
    whole = _gradient(head, features, labels)
    norm = whole.norm()
    if not norm > 0:
        return Noise(math.nan, math.nan)
    errors, cosines = [], []
    for rows in torch.split(deck, batch_size):
        gradient = _gradient(head, features[rows], labels[rows])
        errors.append(float((gradient - whole).norm() / norm))
        cosines.append(float(functional.cosine_similarity(gradient, whole, dim=0)))
    return Noise(math.sqrt(statistics.fmean(e * e for e in errors)), statistics.fmean(cosines))


def slope(sizes: Sequence[int], errors: Sequence[float]) -> float:
    """Return the power of the batch size that the error goes by, from a line through logarithms.

    Example:
        >>> round(slope([1, 4, 16], [2.0, 1.0, 0.5]), 2)
        -0.5
    """
    x = [math.log(size) for size in sizes]
    y = [math.log(max(error, 1e-12)) for error in errors]
    return statistics.linear_regression(x, y).slope


def _gradient(head: nn.Module, features: Tensor, labels: Tensor) -> Tensor:
    loss = functional.cross_entropy(head.eval()(features), labels)
    gradients = torch.autograd.grad(loss, list(head.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])
