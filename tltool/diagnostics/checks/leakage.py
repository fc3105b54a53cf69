"""Leakage between splits: duplicates of held-out images among the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.loading.labels import Label
from tltool.diagnostics.checks.check_result import Check, CheckResult
from tltool.diagnostics.checks.duplicates import Duplicates, pairs_of_equal

#: Share of the held-out images with a near-duplicate elsewhere from which on it is a failure: a few
#: may be images of two things that look alike.
MOST_NEAR = 0.01


def exact_duplicates(
    found: Duplicates, paths: Sequence[str], splits: Sequence[str], labels: Sequence[Label]
) -> CheckResult:
    """Look for the same content in two splits of the data, or under two labels.

    Args:
        found: Which images are the same.
        paths: Of each image.
        splits: The split that each belongs to.
        labels: The label of each.

    Example:
        >>> found = Duplicates(np.array([0, 0, 1]), np.empty((0, 2), int), 0)
        >>> exact_duplicates(found, ["a", "b", "c"], ["train", "val", "val"], [0, 0, 1]).found
        '1 image is in train and in val too, byte for byte: a = b.'
    """
    check = Check("exact duplicates")
    pairs = pairs_of_equal(found.content)
    kinds = {"leakage": _pairs_across(pairs, splits), "mislabeled": _pairs_across(pairs, labels)}
    for kind, chosen in kinds.items():
        if len(chosen):
            one, other = chosen[0]
            number = "1 image is" if len(chosen) == 1 else f"{len(chosen):,} images are"
            words: dict[str, Any] = {"number": number, "pair": f"{paths[one]} = {paths[other]}"}
            return check.problem(kind, split=splits[one], other_split=splits[other], **words)
    if len(pairs):
        one, other = pairs[0]
        return check.ok(f"{len(pairs):,} copies, all in one split: {paths[one]} = {paths[other]}.")
    return check.ok(f"none among {len(paths):,} images")


def near_duplicates(found: Duplicates, paths: Sequence[str], splits: Sequence[str]) -> CheckResult:
    """Look for images that were resized or encoded again, in two splits of the data.

    Example:
        >>> found = Duplicates(np.array([0, 1]), np.array([[0, 1]]), 0)
        >>> near_duplicates(found, ["a.png", "a.jpg"], ["train", "val"]).status
        'failed'
    """
    check = Check("near-duplicates")
    across = _pairs_across(found.near, splits)
    flat = f"; {found.num_flat:,} of one color left out" if found.num_flat else ""
    if not len(across):
        inside = f"{len(found.near):,} pairs, all inside a split," if len(found.near) else "none"
        return check.ok(f"{inside} among {len(paths):,} images{flat}")
    is_held_out = np.array(splits) != "train"
    leaked, num_held_out = is_held_out[np.unique(across)].sum(), is_held_out.sum()
    one, other = across[0]
    pair = f"{paths[one]} ({splits[one]}) ~ {paths[other]} ({splits[other]})"
    numbers: dict[str, Any] = {"leaked": leaked, "held_out": num_held_out}
    is_failure = bool(leaked >= MOST_NEAR * num_held_out)
    return check.problem("leakage", is_failure=is_failure, pair=pair, flat=flat, **numbers)


def _pairs_across(pairs: NDArray[np.int64], values: Sequence[object]) -> NDArray[np.int64]:
    """Return the pairs ``(P, 2)`` of images whose split or label differs."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    first, other = np.array([numbers[value] for value in values], dtype=np.int64)[pairs].T
    differs: NDArray[np.bool_] = first != other
    return pairs[differs]
