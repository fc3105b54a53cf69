"""Stratified subsamples: a share of the images of each class, at random."""

import torch
from torch import Tensor

from tltool.data.loading.samples import Samples


def draw_stratified(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return the indices of a share of the images of each class, at random, at least one of each.

    Where labels are several classes ``(N, num_classes)`` or numbers, those of all images.

    Example:
        >>> draw_stratified(torch.tensor([0] * 4 + [1] * 2), 0.5, torch.Generator()).shape
        torch.Size([3])
    """
    if labels.ndim > 1 or labels.is_floating_point():
        order = torch.randperm(len(labels), generator=generator)
        return order[: max(round(len(labels) * share), 1)].sort().values
    chosen = []
    for label in labels.bincount().nonzero().flatten():
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        chosen.append(members[order[: max(round(len(members) * share), 1)]])
    return torch.cat(chosen).sort().values


def at_most(samples: Samples, number: int) -> Samples:
    """Return about so many labeled samples, of each class the same share; all if there are fewer.

    Example:
        >>> len(at_most(Samples(["a", "b", "c", "d"], [0, 0, 1, 1]), 2))
        2
    """
    if len(samples) <= number:
        return samples
    labels = torch.tensor(samples.labels)
    chosen = draw_stratified(labels, number / len(samples), torch.Generator().manual_seed(0))
    return samples.subset(chosen.tolist())
