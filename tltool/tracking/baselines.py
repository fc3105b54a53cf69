"""What needs no training, as a yardstick for a run: the majority class and a closed-form probe."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tltool.comparison.differences import estimate_mean, number_groups
from tltool.data.loading.batch_loader import BatchLoader
from tltool.data.loading.image_dataset import ImageDataset
from tltool.features.feature_loader import FeatureLoader
from tltool.models.ridge_probe import fit_ridge_probe
from tltool.tracking.val_outcomes import Outcomes

CHEAP = 1e10
"""Multiplications that a probe may cost, ``N * D * min(N, D)``: some ten seconds on two cores."""


class Gain(NamedTuple):
    """How much more often one is right than another on the same photos.

    Attributes:
        mean: The difference of the accuracies.
        standard_error: Over other photos, or groups of photos that are alike.
    """

    mean: float
    standard_error: float


def gain(correct: Tensor, reference: Tensor, groups: Sequence[str] | None = None) -> Gain:
    """Compare two on the same photos, pair by pair.

    Args:
        correct: Whether one is right on each photo, ``(N,)``.
        reference: Whether the other is, ``(N,)``.
        groups: What each photo belongs to, where photos of one group are alike.

    Example:
        >>> right = torch.tensor([True, True, True, False])
        >>> gain(right, torch.tensor([True, False, True, False]))
        Gain(mean=0.25, standard_error=0.25)
    """
    paired = (correct.double() - reference.double())[None]
    estimate = estimate_mean(paired, number_groups(groups))
    return Gain(estimate.mean, estimate.standard_error)


def majority_correct(train: ImageDataset, val: ImageDataset) -> Tensor:
    """Return for which validation photos the most frequent class of training is right, ``(N,)``."""
    return torch.tensor(val.labels) == torch.tensor(train.labels).mode().values


def probe_correct(train: BatchLoader, val: BatchLoader, num_classes: int) -> Tensor | str:
    """Return for which validation photos a probe on the cached features is right, ``(N,)``.

    Returns:
        That, or where it would take time, the reason why it is left out.
    """
    known, asked = train.substitute, val.substitute
    if not (isinstance(known, FeatureLoader) and isinstance(asked, FeatureLoader)):
        return "training does not begin with cached features"
    num_photos, num_features = known.views[0].shape
    if num_photos * num_features * min(num_photos, num_features) > CHEAP:
        return f"{num_features} features of {num_photos} photos would take long"
    train_labels, val_labels = (torch.tensor(each.samples.labels) for each in (known, asked))
    probe = fit_ridge_probe(known.views[0], train_labels, num_classes)
    return probe.predict(asked.views[0]) == val_labels


def compare(
    outcomes: Outcomes,
    references: Mapping[str, Tensor | None],
    groups: Sequence[str] | None = None,
) -> dict[str, float]:
    """Return the accuracy of each baseline and the gain over it, on the photos that were seen.

    Args:
        outcomes: Of the network.
        references: For which of all validation photos a baseline is right; ``None`` is left out.
        groups: What each validation photo belongs to, where photos of one group are alike.

    Example:
        >>> rows = torch.tensor([[1, 0, 0, 0.9, 0.9], [1, 1, 1, 0.6, 0.6]])
        >>> compare(Outcomes.from_rows(rows), {"majority": torch.tensor([True, False])})
        {'baseline/majority_accuracy': 0.5, 'gain_over_majority': 0.5, 'gain_over_majority_se': 0.5}
    """
    seen = outcomes.positions
    seen_groups = None if groups is None else [groups[index] for index in seen.tolist()]
    found = {}
    for name, correct in references.items():
        if correct is None:
            continue
        difference = gain(outcomes.correct, correct[seen], seen_groups)
        found[f"baseline/{name}_accuracy"] = float(correct[seen].double().mean())
        found[f"gain_over_{name}"] = difference.mean
        found[f"gain_over_{name}_se"] = difference.standard_error
    return found
