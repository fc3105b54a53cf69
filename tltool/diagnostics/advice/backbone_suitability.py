"""Suitability of a backbone for a data set, from its frozen features and without training."""

import math
from typing import NamedTuple

from torch import Tensor

from tltool.diagnostics.advice.logme import logme
from tltool.models.ridge_probe import fit_ridge_probe


class Suitability(NamedTuple):
    """What the frozen features of a backbone say before any training.

    Attributes:
        accuracy: Accuracy of a closed-form probe on the images that validate.
        num_images: Number of these images.
        logme: LogME of the images that train; larger is better.
    """

    accuracy: float
    num_images: int
    logme: float

    @property
    def standard_error(self) -> float:
        """The standard error of the accuracy, from the number of images."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.num_images)


def measure_suitability(
    train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], num_classes: int
) -> Suitability:
    """Return what frozen features say about how well a backbone suits the data.

    See `fit_ridge_probe` and `logme`.

    Args:
        train: Features ``(N, D)`` and labels ``(N,)`` of the images that train.
        val: Those of the images that validate.
        num_classes: Number of classes.

    Example:
        >>> import torch
        >>> labels = torch.tensor([0, 1]).repeat(10)
        >>> features = torch.nn.functional.one_hot(labels).double()
        >>> noisy = features + 0.1 * torch.randn(20, 2)
        >>> measure_suitability((noisy, labels), (features, labels), 2).accuracy
        1.0
    """
    features, labels = val
    predicted = fit_ridge_probe(*train, num_classes).predict(features)
    accuracy = (predicted == labels).double().mean().item()
    return Suitability(accuracy, len(labels), logme(*train, num_classes))
