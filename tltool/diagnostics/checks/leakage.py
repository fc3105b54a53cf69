"""Leakage between splits: duplicates of held-out images among the others."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tltool.diagnostics.checks.check_result import Check, CheckResult
from tltool.diagnostics.checks.duplicates import Duplicates

MOST_NEAR = 0.01
"""Share of the held-out images with a near-duplicate elsewhere from which on it is a failure: a few
may be images of two things that look alike."""

REMEDY = (
    "--write_groups groups.csv, then tltool fit --data ManifestDataModule --data.manifest "
    "groups.csv: copies stay on one side."
)


def exact_duplicates(
    found: Duplicates, paths: Sequence[str], splits: Sequence[str], labels: Sequence[int]
) -> CheckResult:
    """Look for the same content in two splits of the data, or under two labels.

    Args:
        found: Which images are the same.
        paths: Of each image.
        splits: The split that each belongs to.
        labels: The class of each.

    Example:
        >>> found = Duplicates(np.array([0, 0, 1]), np.empty((0, 2), int), 0)
        >>> exact_duplicates(found, ["a", "b", "c"], ["train", "val", "val"], [0, 0, 1]).found
        '1 image is in train and in val too, byte for byte: a = b.'
    """
    check = Check("exact duplicates")
    pairs = _first_and_other(found.content)
    leaks = _pairs_across(pairs, splits)
    if len(leaks):
        one, other = leaks[0]
        words = f"in {splits[one]} and in {splits[other]} too, byte for byte"
        return check.failed(_say(leaks, words, paths), REMEDY)
    mislabeled = _pairs_across(pairs, labels)
    if len(mislabeled):
        return check.warning(
            _say(mislabeled, "in two classes", paths),
            "Delete it from the wrong class.",
        )
    if len(pairs):
        one, other = pairs[0]
        words = f"{len(pairs):,} copies, all inside a split: {paths[one]} = {paths[other]}."
        return check.ok(words)
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
    return CheckResult(
        check,
        "failed" if leaked >= MOST_NEAR * num_held_out else "warning",
        f"{leaked:,} of {num_held_out:,} held-out images show what an image in another split does, "
        f"as after resizing or encoding: {paths[one]} ({splits[one]}) ~ {paths[other]} "
        f"({splits[other]}){flat}.",
        f"Look at them; if they are copies: {REMEDY}",
    )


def _first_and_other(content: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs of the first image of a content and each further one, ``(P, 2)``."""
    _, first, inverse = np.unique(content, return_index=True, return_inverse=True)
    pairs: NDArray[np.int64] = np.stack([first[inverse], np.arange(len(content))], axis=1)
    is_copy: NDArray[np.bool_] = pairs[:, 0] != pairs[:, 1]
    return pairs[is_copy]


def _pairs_across(pairs: NDArray[np.int64], values: Sequence[object]) -> NDArray[np.int64]:
    """Return the pairs ``(P, 2)`` of images whose split or label differs."""
    first, other = np.array(values)[pairs].T
    differs: NDArray[np.bool_] = first != other
    return pairs[differs]


def _say(pairs: NDArray[np.int64], words: str, paths: Sequence[str]) -> str:
    number = "1 image is" if len(pairs) == 1 else f"{len(pairs):,} images are"
    one, other = pairs[0]
    return f"{number} {words}: {paths[one]} = {paths[other]}."
