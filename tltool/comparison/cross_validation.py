"""Cross-validation of heads: rows of the training, tuning and test split, fold by fold."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from tltool.data.loading.labels import MOST_LEVELS

_BINS = 10  # quantiles of numbers that folds keep the shares of


@dataclass(frozen=True)
class SplitRows:
    """Rows of the training, tuning and test split, and the seeds of the heads that train there.

    Attributes:
        train: Rows that train.
        val: Rows that choose the learning rate, the tuning split. Empty where nothing is chosen.
        test: Rows that the result is about.
        seeds: Positions of the seeds that train on it.
    """

    train: Tensor
    val: Tensor
    test: Tensor
    seeds: tuple[int, ...]


def split_rows(splits: Sequence[str], split: str) -> Tensor:
    """Return the rows of one split.

    Example:
        >>> split_rows(["train", "val", "train"], "train")
        tensor([0, 2])
    """
    return torch.tensor([row for row, name in enumerate(splits) if name == split], dtype=torch.long)


def cross_validation(
    labels: Tensor,
    seeds: Sequence[int],
    *,
    num_folds: int,
    groups: Sequence[int] | None = None,
    choose: bool = True,
    are_classes: bool = True,
) -> list[SplitRows]:
    """Return splits in which each image is tested once for each seed, by heads that never saw it.

    Each seed has folds of its own: one is the test split, the next one the tuning split, the others
    train. So what is reported has chosen nothing (Cawley & Talbot, 2010,
    https://www.jmlr.org/papers/v11/cawley10a.html).

    Args:
        labels: Class of each image, ``(N,)``, see `strata`.
        seeds: Seeds of the folds.
        num_folds: Number of folds, at least 3; 2 if nothing is chosen.
        groups: Group of each image; a group is never in two folds. ``None`` for stratified folds.
        choose: Keep a fold as tuning split; else it trains too.
        are_classes: Whether each fold needs an image of each.

    Raises:
        ValueError: If there are too few images or groups.

    Example:
        >>> splits = cross_validation(torch.arange(12) % 2, [0, 1], num_folds=3)
        >>> len(splits), [len(rows) for rows in (splits[0].train, splits[0].val, splits[0].test)]
        (6, [4, 4, 4])
    """
    least = 3 if choose else 2
    _check_folds(labels if are_classes else torch.zeros_like(labels), num_folds, groups, least)
    splits = []
    for position, seed in enumerate(seeds):
        generator = Generator().manual_seed(seed)
        if groups is None:
            fold_of = _stratified_folds(labels, num_folds, generator)
        else:
            fold_of = _group_folds(labels, torch.as_tensor(groups), num_folds, generator)
        for fold in range(num_folds):
            chooses = (fold + 1) % num_folds if choose else -1
            trains = (fold_of != fold) & (fold_of != chooses)
            masks = (trains, fold_of == chooses, fold_of == fold)
            train, val, test = (mask.nonzero()[:, 0] for mask in masks)
            splits.append(SplitRows(train, val, test, seeds=(position,)))
    return splits


def strata(labels: Tensor, num_folds: int) -> Tensor:
    """Return what folds keep the shares of, ``(N,)``: where there are no classes, bins of labels.

    Of several classes that is the rarest one that an image has; of numbers the level, or of more
    than `MOST_LEVELS` the quantile. What fewer images have than there are folds is one stratum.

    Args:
        labels: Classes ``(N,)`` are left as they are; several classes ``(N, num_classes)``, or
            numbers ``(N,)``.
        num_folds: Number of folds.

    Example:
        >>> strata(torch.tensor([0.5, 2.5, 0.5, 2.5]), num_folds=2)
        tensor([0, 1, 0, 1])
    """
    if not labels.is_floating_point():
        return labels
    if labels.ndim == 2:
        counts = labels.sum(dim=0)
        rarest = torch.where(labels > 0, counts, torch.inf).argmin(dim=1)
        found = torch.where(labels.any(dim=1), rarest, labels.shape[1])
    else:
        levels, found = torch.unique(labels, return_inverse=True)
        if len(levels) > MOST_LEVELS:
            number = min(max(len(labels) // num_folds, 1), _BINS)
            found = labels.argsort().argsort() * number // len(labels)
    few = found.bincount()[found] < num_folds
    found[few] = found.max() + 1
    numbers: Tensor = torch.unique(found, return_inverse=True)[1]
    return numbers


def check_num_folds(num_folds: int, *, choose: bool) -> None:
    """Raise if there are too few folds.

    Args:
        num_folds: Number of folds.
        choose: Whether one of them chooses.
    """
    least = 3 if choose else 2
    if num_folds < least:
        tuning = "one chooses the learning rate, " if choose else ""
        words = f"got {num_folds}: one tests, {tuning}the others train. Set --folds 5."
        raise ValueError(f"Cross-validation needs at least {least} folds, {words}")


def _check_folds(labels: Tensor, num_folds: int, groups: Sequence[int] | None, least: int) -> None:
    check_num_folds(num_folds, choose=least == 3)
    smallest = int(labels.bincount()[torch.unique(labels)].min())
    if groups is None and smallest < num_folds:
        fix = f"Set --folds {smallest}, or add images." if smallest >= least else "Add images."
        raise ValueError(f"A class has {smallest} images, too few for {num_folds} folds. {fix}")
    if groups is not None and len(set(groups)) < num_folds:
        fix = "Use data with more groups, or set fewer --folds."
        raise ValueError(f"{len(set(groups))} groups are too few for {num_folds} folds. {fix}")


def _stratified_folds(labels: Tensor, num_folds: int, generator: Generator) -> Tensor:
    """Return the fold of each image, each class dealt out evenly."""
    fold_of = torch.empty_like(labels)
    dealt = 0  # Each class goes on where the last one ended, so that folds are of one size.
    for label in torch.unique(labels):
        members = (labels == label).nonzero()[:, 0]
        shuffled = members[torch.randperm(len(members), generator=generator)]
        fold_of[shuffled] = (torch.arange(len(members)) + dealt) % num_folds
        dealt += len(members)
    return fold_of


def _group_folds(labels: Tensor, groups: Tensor, num_folds: int, generator: Generator) -> Tensor:
    """Return the fold of each image: large groups first, each to where its classes are missing.

    Of folds that have as many of its classes it is the smallest, so that none stays empty.
    """
    names, index = torch.unique(groups, return_inverse=True)
    counts = torch.zeros(len(names), int(labels.max()) + 1, dtype=torch.float64)
    counts.index_put_((index, labels), counts.new_ones(len(labels)), accumulate=True)
    filled = torch.zeros(num_folds, counts.shape[1], dtype=torch.float64)
    fold_of_group = torch.empty(len(names), dtype=torch.long)
    shuffled = torch.randperm(len(names), generator=generator)
    for group in shuffled[counts[shuffled].sum(dim=1).argsort(descending=True, stable=True)]:
        overlaps, sizes = (filled @ counts[group]).tolist(), filled.sum(dim=1).tolist()
        fold = min(range(num_folds), key=lambda fold: (overlaps[fold], sizes[fold]))
        fold_of_group[group] = fold
        filled[fold] += counts[group]
    return fold_of_group[index]
