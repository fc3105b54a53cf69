"""Photos that train and are to test: a split that flatters."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tltool.diagnosis.duplicates import Duplicates
from tltool.diagnosis.finding import Finding

MOST_NEAR = 0.01
"""Share of the held-out photos with a near-duplicate elsewhere from which on it is a failure: a few
may be photos of two things that look alike."""

REMEDY = (
    "--write_groups groups.csv, then tltool fit --data ManifestDataModule --data.manifest "
    "groups.csv: copies stay on one side."
)


def exact_duplicates(
    found: Duplicates, paths: Sequence[str], parts: Sequence[str], labels: Sequence[int]
) -> Finding:
    """Look for the same content in two parts of the data, or under two labels.

    Args:
        found: Which photos are the same.
        paths: Of each photo.
        parts: The part that each belongs to.
        labels: The class of each.

    Example:
        >>> found = Duplicates(np.array([0, 0, 1]), np.empty((0, 2), int), 0)
        >>> exact_duplicates(found, ["a", "b", "c"], ["train", "val", "val"], [0, 0, 1]).found
        '1 photo is in train and in val too, byte for byte: a = b.'
    """
    check = "exact duplicates"
    pairs = _first_and_other(found.content)
    part_of, label_of = np.array(parts), np.array(labels)
    leaks = pairs[part_of[pairs[:, 0]] != part_of[pairs[:, 1]]]
    if len(leaks):
        one, other = leaks[0]
        return Finding(
            check,
            "failed",
            f"{_photos(len(leaks))} in {parts[one]} and in {parts[other]} too, byte for byte: "
            f"{paths[one]} = {paths[other]}.",
            REMEDY,
        )
    torn = pairs[label_of[pairs[:, 0]] != label_of[pairs[:, 1]]]
    if len(torn):
        one, other = torn[0]
        return Finding(
            check,
            "warning",
            f"{_photos(len(torn))} in two classes: {paths[one]} = {paths[other]}.",
            "Delete it from the wrong class.",
        )
    if len(pairs):
        one, other = pairs[0]
        words = f"{len(pairs):,} copies, all inside a part: {paths[one]} = {paths[other]}."
        return Finding(check, "ok", words)
    return Finding(check, "ok", f"none among {len(paths):,} photos")


def near_duplicates(found: Duplicates, paths: Sequence[str], parts: Sequence[str]) -> Finding:
    """Look for photos that were resized or encoded again, in two parts of the data.

    Example:
        >>> found = Duplicates(np.array([0, 1]), np.array([[0, 1]]), 0)
        >>> near_duplicates(found, ["a.png", "a.jpg"], ["train", "val"]).status
        'failed'
    """
    check = "near-duplicates"
    part_of = np.array(parts)
    across = found.near[part_of[found.near[:, 0]] != part_of[found.near[:, 1]]]
    flat = f"; {found.num_flat:,} of one color left out" if found.num_flat else ""
    if not len(across):
        inside = f"{len(found.near):,} pairs, all inside a part," if len(found.near) else "none"
        return Finding(check, "ok", f"{inside} among {len(paths):,} photos{flat}")
    touched = np.unique(across)
    held_out = int((part_of[touched] != "train").sum())
    num_held_out = int((part_of != "train").sum())
    one, other = across[0]
    return Finding(
        check,
        "failed" if held_out >= MOST_NEAR * num_held_out else "warning",
        f"{held_out:,} of {num_held_out:,} held-out photos show what a photo in another part does, "
        f"as after resizing or encoding: {paths[one]} ({parts[one]}) ~ {paths[other]} "
        f"({parts[other]}){flat}.",
        f"Look at them; if they are copies: {REMEDY}",
    )


def _first_and_other(content: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs of the first photo of a content and each further one, those apart first."""
    _, first, inverse = np.unique(content, return_index=True, return_inverse=True)
    others = np.arange(len(content))
    is_copy = first[inverse] != others
    return np.stack([first[inverse][is_copy], others[is_copy]], axis=1)


def _photos(number: int) -> str:
    return "1 photo is" if number == 1 else f"{number:,} photos are"
