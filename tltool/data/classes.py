"""Checks of the classes: are their names known, and does each have enough photos?"""

from collections.abc import Mapping, Sequence


def check_class_names(found: Sequence[str], known: Sequence[str], *, place: str, part: str) -> None:
    """Raise if a class is found that is not known.

    Args:
        found: The classes of one part of the data.
        known: Those of the training photos or of the checkpoint.
        place: Where the data lies.
        part: ``train``, ``val``, ``test``, or ``all``.

    Example:
        >>> check_class_names(["ants", "wasps"], ["ants", "bees"], place="'photos'", part="val")
        Traceback (most recent call last):
        ...
        ValueError: The val photos in 'photos' have the class wasps, which ... does not learn...
    """
    unknown = [name for name in found if name not in known]
    if not unknown:
        return
    what = "photos" if part == "all" else f"{part} photos"
    raise ValueError(
        f"The {what} in {place} have the class {_listed(unknown)}, which the model does not learn. "
        f"Classes found: {_listed(found)}. Classes of the training photos or the checkpoint: "
        f"{_listed(known)}. Rename or remove the folder, or put photos of it into the training "
        "folder too."
    )


def check_class_sizes(
    counts: Mapping[str, int], *, place: str, minimum: int, expected: Sequence[str] = ()
) -> None:
    """Raise if the classes cannot be trained on.

    Args:
        counts: Number of training photos of each class.
        place: Where the data lies.
        minimum: Number of photos that a class needs: 2 if it is to be split, or 1.
        expected: All classes, where they are given: one found class is then enough.

    Example:
        >>> check_class_sizes({"ants": 7, "bees": 1}, place="'photos'", minimum=2)
        Traceback (most recent call last):
        ...
        ValueError: The class bees in 'photos' has one photo, ... Add photos, or remove the folder.
    """
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        raise ValueError(
            f"The class {_listed(empty)} in {place} has no photo. Add photos, or remove the folder."
        )
    single = [name for name, count in counts.items() if count < minimum]
    if single:
        raise ValueError(
            f"The class {_listed(single)} in {place} has one photo, which cannot be split into one "
            "for training and one for validation. Add photos, or remove the folder."
        )
    if len(counts) < 2 and len(expected) < 2:
        raise ValueError(
            f"{place} has only the class {_listed(list(counts))}; there is nothing to tell apart. "
            "Add a folder with photos of a second class."
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
