"""Calibration: how far confidence agrees with accuracy, in bins and as one error."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

NUM_BINS = 15
"""Bins of the confidence, also of the calibration error among the metrics."""


class ReliabilityBin(NamedTuple):
    """Images of which a network is about equally sure.

    Attributes:
        confidence: Their mean confidence.
        accuracy: The share that is right.
        num_images: How many they are.
    """

    confidence: float
    accuracy: float
    num_images: int


def reliability_bins(confidence: Tensor, correct: Tensor) -> list[ReliabilityBin]:
    """Return the bins of equal width that hold an image.

    Guo et al., 2017, https://arxiv.org/abs/1706.04599.

    Args:
        confidence: The probability of the predicted class, ``(N,)``.
        correct: Whether each prediction is right, ``(N,)``.

    Example:
        >>> import torch
        >>> reliability_bins(torch.tensor([0.875, 0.625]), torch.tensor([False, True]))
        [ReliabilityBin(confidence=0.625, accuracy=1.0, num_images=1),
         ReliabilityBin(confidence=0.875, accuracy=0.0, num_images=1)]
    """
    confidence, correct = confidence.double(), correct.double()
    places = (confidence * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    return [
        ReliabilityBin(
            float(confidence[inside].mean()), float(correct[inside].mean()), int(inside.sum())
        )
        for inside in (places == place for place in range(NUM_BINS))
        if inside.any()
    ]


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the expected calibration error: the mean gap of the bins, weighted by their images.

    Example:
        >>> bins = [ReliabilityBin(0.75, 0.5, 3), ReliabilityBin(0.9, 0.9, 1)]
        >>> calibration_error(bins)
        0.1875
    """
    gaps = (abs(each.accuracy - each.confidence) * each.num_images for each in bins)
    return sum(gaps) / sum(each.num_images for each in bins)
