"""Stratified and grouped splits into train, val and test, by a hash of seed and name."""

import hashlib
import itertools
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

_CHOICE = 4  # groups to choose from: with more, every seed would give the same split


def split_stratified(
    names: Sequence[str], labels: Sequence[Hashable], fractions: Mapping[str, float], *, seed: int
) -> dict[str, list[int]]:
    """Split images, each class by the same fractions: what is left after the other splits trains.

    The images of a class are ordered by a hash of seed and name; the first ones go to the first
    split. So the split is the same on every machine and rank, and an image that is added or removed
    later moves at most one other image of each split, and none of another class: splits of these
    sizes cannot move fewer. Each class keeps at least one image in each
    split, if it has enough.

    Args:
        names: Name of each image, relative to the data's folder.
        labels: Class of each image.
        fractions: Share of each class for each split but ``train``, in ``(0, 1)``.
        seed: Another seed, another split.

    Returns:
        The indices of each split and of ``train``, in order.

    Example:
        >>> names = [f"{index}.jpg" for index in range(10)]
        >>> split = split_stratified(names, [0] * 5 + [1] * 5, {"val": 0.2}, seed=0)
        >>> {name: len(indices) for name, indices in split.items()}
        {'val': 2, 'train': 8}
    """
    by_class: dict[Hashable, list[int]] = {}
    for index, label in enumerate(labels):
        by_class.setdefault(label, []).append(index)
    split_of: dict[int, str] = {}
    for members in by_class.values():
        in_order = sorted(members, key=lambda index: _rank(names[index], seed))

        def take(waiting: list[int], most: int, split: str, total: int = len(members)) -> list[int]:
            return waiting[: min(max(round(total * fractions[split]), 1), most)]

        split_of |= _deal(in_order, fractions, take)
    return _indices([split_of.get(index, "train") for index in range(len(labels))], fractions)


def split_by_group(
    groups: Sequence[str], labels: Sequence[Hashable], fractions: Mapping[str, float], *, seed: int
) -> dict[str, list[int]]:
    """Split images so that no group is on both sides: what is left after the other splits trains.

    Images of one patient, one camera or one module are alike; a model that has trained on some of
    them recognizes the others. Groups are ordered by a hash of seed and name. Each split takes
    groups until it has its fraction of the images, at least one group, and of the next few always
    the one that brings its mix of classes nearest to that of all images. Where a large group makes
    that less than half or more than 1.5 times of the fraction, groups larger than what is missing
    are passed over as long as there are others, if that brings it much nearer.

    Args:
        groups: Group of each image.
        labels: Class of each image.
        fractions: Share of all images for each split but ``train``, in ``(0, 1)``.
        seed: As in `split_stratified`, and so is what is returned.

    Raises:
        ValueError: If there are fewer groups than splits.

    Example:
        >>> groups = ["a", "a", "b", "b", "c", "c"]
        >>> split_by_group(groups, [0, 1, 0, 1, 0, 1], {"val": 0.3}, seed=0)
        {'val': [4, 5], 'train': [0, 1, 2, 3]}
    """
    counts: dict[str, Counter[Hashable]] = {}
    for group, label in zip(groups, labels, strict=True):
        counts.setdefault(group, Counter())[label] += 1
    if len(counts) <= len(fractions):
        raise ValueError(
            f"{len(counts)} groups cannot be split into train, {', '.join(fractions)}: each split "
            "needs at least one group of its own. Use more groups, or give each image its split."
        )
    goal = {label: count / len(labels) for label, count in Counter(labels).items()}

    def take(waiting: list[str], most: int, split: str) -> list[str]:
        needed = fractions[split] * len(labels)
        chosen = _choose(waiting[:most], most, needed, counts, goal)
        error = abs(_total(chosen, counts) - needed)
        if error <= needed / 2:
            return chosen
        fitting = _choose(waiting, most, needed, counts, goal, pass_over_large=True)
        return fitting if abs(_total(fitting, counts) - needed) < error / 2 else chosen

    in_order = sorted(counts, key=lambda group: _rank(group, seed))
    split_of = _deal(in_order, fractions, take)
    return _indices([split_of.get(group, "train") for group in groups], fractions)


def _choose(
    waiting: Sequence[str],
    most: int,
    needed: float,
    counts: Mapping[str, Counter[Hashable]],
    goal: Mapping[Hashable, float],
    *,
    pass_over_large: bool = False,
) -> list[str]:
    """Return groups, at most so many, that have about as many images as are needed."""
    chosen, taken, free = list[str](), Counter[Hashable](), list(waiting)
    while len(chosen) < most:
        missing = needed - taken.total() if pass_over_large else math.inf
        fitting = (group for group in free if counts[group].total() <= missing)
        few = list(itertools.islice(fitting, _CHOICE))
        few = few or [min(free, key=lambda group: counts[group].total())]
        best = min(few, key=lambda group: _distance(taken + counts[group], goal))
        nearer = taken.total() + counts[best].total() / 2 <= needed
        if chosen and not nearer:
            break
        free.remove(best)
        taken += counts[best]
        chosen.append(best)
    return chosen


def _total(groups: Sequence[str], counts: Mapping[str, Counter[Hashable]]) -> int:
    return sum(counts[group].total() for group in groups)


def _deal(
    waiting: Sequence[T], splits: Collection[str], take: Callable[[list[T], int, str], Sequence[T]]
) -> dict[T, str]:
    """Let each split take its images or groups, but leave one for each later split and train."""
    split_of: dict[T, str] = {}
    for position, split in enumerate(splits):
        most = max(len(waiting) - (len(splits) - position), 0)
        split_of |= dict.fromkeys(take(list(waiting), most, split), split)
        waiting = [one for one in waiting if one not in split_of]
    return split_of


def _indices(split_of: Sequence[str], splits: Collection[str]) -> dict[str, list[int]]:
    return {
        split: [index for index, other in enumerate(split_of) if other == split]
        for split in (*splits, "train")
    }


def _distance(counts: Counter[Hashable], goal: Mapping[Hashable, float]) -> float:
    return sum((counts[label] / counts.total() - share) ** 2 for label, share in goal.items())


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raise unless each fraction is in ``(0, 1)`` and something is left to train on.

    Args:
        fractions: Share of the images of each split but ``train``.

    Example:
        >>> check_fractions({"val": 20})
        Traceback (most recent call last):
        ...
        ValueError: Fractions must be above 0 and ... got val_fraction 20. Set --data.val...
    """
    if min(fractions.values()) <= 0 or sum(fractions.values()) >= 1:
        given = ", ".join(f"{split}_fraction {share}" for split, share in fractions.items())
        raise ValueError(
            f"Fractions must be above 0 and leave something to train on, got {given}. "
            f"Set {' '.join(f'--data.{split}_fraction 0.2' for split in fractions)}."
        )


def check_tuning_fraction(fraction: float | None) -> float | None:
    """Return a share of the training images for a tuning split, if it is one.

    Example:
        >>> check_tuning_fraction(20)
        Traceback (most recent call last):
        ...
        ValueError: `tuning_fraction` must be in [0, 1), got 20. Set --data.tuning_fraction 0.2...
    """
    if fraction is not None and not 0 <= fraction < 1:
        raise ValueError(
            f"`tuning_fraction` must be in [0, 1), got {fraction}. Set --data.tuning_fraction 0.2, "
            "or 0 for no tuning split."
        )
    return fraction


def _rank(name: str, seed: int) -> bytes:
    # macOS hands out decomposed names, Linux what was written: one form, one split.
    name = unicodedata.normalize("NFC", name)
    return hashlib.blake2b(f"{seed} {name}".encode(errors="surrogateescape")).digest()
