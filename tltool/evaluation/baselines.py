"""Baselines that need no training: the majority class and a closed-form probe of the features."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from tltool.evaluation.paired_differences import Difference, judge
from tltool.models.ridge_probe import CHEAP, fit_ridge_probe

MAJORITY, PROBE, RUN = "majority class", "closed-form probe", "this run"


def majority_class(train_labels: Tensor) -> int:
    """Return the most frequent class of training labels ``(N,)``."""
    return int(train_labels.mode().values)


def is_cheap_probe(features: Tensor) -> bool:
    """Tell whether a probe of features ``(N, D)`` is fitted in some ten seconds."""
    num_images, num_features = features.shape
    return num_images * num_features * min(num_images, num_features) <= CHEAP


def probe_correct(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], num_classes: int
) -> Tensor:
    """Return for which images a probe of frozen features is right, ``(N,)``.

    Args:
        train: Features ``(M, D)`` and labels ``(M,)`` that the probe is fitted on.
        test: Features ``(N, D)`` and labels ``(N,)`` that it predicts.
        num_classes: Number of classes.
    """
    features, labels = test
    return fit_ridge_probe(*train, num_classes).predict(features) == labels


def compare_with_baselines(
    correct: Tensor, baselines: Mapping[str, Tensor], groups: Sequence[int] | None = None
) -> dict[str, Difference]:
    """Return an accuracy less that of each baseline, paired over the images.

    Each is judged by itself: who claims to be better than both needs both, so that their number
    makes no claim more likely by chance.

    Args:
        correct: Whether each image is predicted right, ``(N,)``.
        baselines: Whether each baseline is right, ``(N,)``, by its name.
        groups: The group of each image, where images of one group are alike.

    Example:
        >>> import torch
        >>> right, baseline = torch.tensor([1, 1, 1, 0]), torch.tensor([1, 0, 1, 0])
        >>> estimate = compare_with_baselines(right, {"majority": baseline})["majority"].estimate
        >>> estimate.mean, estimate.standard_error
        (0.25, 0.25)
    """
    return {
        name: judge({RUN: correct[None], name: baseline[None]}, name, groups)[0]
        for name, baseline in baselines.items()
    }
