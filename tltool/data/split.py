"""Who trains and who validates: splits that depend on the seed and on names, on nothing else."""

import hashlib
import unicodedata
from collections.abc import Sequence


def split_stratified(
    names: Sequence[str], labels: Sequence[int], *, val_fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split photos into training and validation, each class by the same fraction.

    The photos of a class are ordered by a hash of seed and name, and the first ones validate. So
    the split is the same on every machine and rank, and a photo that is added or removed later
    moves at most one other photo to the other side. Each class keeps at least one photo on both
    sides.

    Args:
        names: Name of each photo, relative to the data's folder.
        labels: Class index of each photo.
        val_fraction: Share of each class that validates, in ``(0, 1)``.
        seed: Another seed, another split.

    Returns:
        The indices for training and those for validation, both in order.

    Raises:
        ValueError: If ``val_fraction`` is not in ``(0, 1)``.

    Example:
        >>> names = [f"{index}.jpg" for index in range(10)]
        >>> train, val = split_stratified(names, [0] * 5 + [1] * 5, val_fraction=0.2, seed=0)
        >>> len(train), len(val)
        (8, 2)
    """
    check_val_fraction(val_fraction)
    by_class: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        by_class.setdefault(label, []).append(index)
    val: set[int] = set()
    for members in by_class.values():
        members.sort(key=lambda index: _rank(names[index], seed))
        count = round(len(members) * val_fraction)
        val.update(members[: min(max(count, 1), len(members) - 1)])
    return [index for index in range(len(names)) if index not in val], sorted(val)


def check_val_fraction(val_fraction: float) -> None:
    """Raise unless ``val_fraction`` is in ``(0, 1)``.

    Example:
        >>> check_val_fraction(20)
        Traceback (most recent call last):
        ...
        ValueError: `val_fraction` must be between 0 and 1, got 20. Set --data.val_fraction 0.2 ...
    """
    if not 0 < val_fraction < 1:
        raise ValueError(
            f"`val_fraction` must be between 0 and 1, got {val_fraction}. "
            "Set --data.val_fraction 0.2 to validate on a fifth of the photos."
        )


def _rank(name: str, seed: int) -> bytes:
    # macOS hands out decomposed names, Linux what was written: one form, one split.
    name = unicodedata.normalize("NFC", name)
    return hashlib.blake2b(f"{seed} {name}".encode(errors="surrogateescape")).digest()
