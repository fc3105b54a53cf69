"""How far the confidence of predictions can be trusted."""

from typing import NamedTuple

from torch import Tensor

NUM_BINS = 15
"""Bins of the confidence, as the calibration error among the metrics has."""


class Bin(NamedTuple):
    """Photos of which a network is about equally sure.

    Attributes:
        confidence: Their mean confidence.
        accuracy: The share that is right.
        num_photos: How many they are.
    """

    confidence: float
    accuracy: float
    num_photos: int


def confidence_bins(confidence: Tensor, correct: Tensor) -> list[Bin]:
    """Return the bins of equal width that hold a photo.

    Guo et al., 2017, https://arxiv.org/abs/1706.04599.

    Args:
        confidence: The probability of the predicted class, ``(N,)``.
        correct: Whether each prediction is right, ``(N,)``.

    Example:
        >>> import torch
        >>> confidence_bins(torch.tensor([0.875, 0.625]), torch.tensor([False, True]))
        [Bin(confidence=0.625, accuracy=1.0, num_photos=1),
         Bin(confidence=0.875, accuracy=0.0, num_photos=1)]
    """
    confidence, correct = confidence.double(), correct.double()
    places = (confidence * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    return [
        Bin(float(confidence[inside].mean()), float(correct[inside].mean()), int(inside.sum()))
        for inside in (places == place for place in range(NUM_BINS))
        if inside.any()
    ]
