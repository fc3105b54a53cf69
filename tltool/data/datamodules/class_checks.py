"""Checks of the classes: are their names known, and does each have enough images?"""

from collections.abc import Iterable, Mapping, Sequence


def check_class_names(
    found: Iterable[str], known: Sequence[str], *, place: str, split: str
) -> None:
    """Raise if a class is found that is not known.

    Args:
        found: The classes of one split of the data.
        known: Those of the training images or of the checkpoint.
        place: Where the data lies.
        split: ``train``, ``val``, ``test``, or ``all``.

    Example:
        >>> check_class_names(["ants", "wasps"], ["ants", "bees"], place="'images'", split="val")
        Traceback (most recent call last):
        ...
        ValueError: The val images in 'images' have the class wasps, which ... does not learn...
    """
    found = sort_classes(found)
    unknown = [name for name in found if name not in known]
    if unknown:
        which = "" if split == "all" else f"{split} "
        raise ValueError(
            f"The {which}images in {place} have the class {_listed(unknown)}, which the model does "
            f"not learn. Classes found: {_listed(found)}. Classes of the training images or the "
            f"checkpoint: {_listed(known)}. Rename or remove it, or give training images of it."
        )


def check_class_sizes(
    counts: Mapping[str, int],
    *,
    place: str,
    splits: Sequence[str] = ("train",),
    expected: Sequence[str] = (),
) -> None:
    """Raise if the classes cannot be trained on.

    Args:
        counts: Number of training images of each class.
        place: Where the data lies.
        splits: The splits that they are to be split into.
        expected: All classes, where they are given: one found class is then enough.

    Example:
        >>> check_class_sizes({"ants": 7, "bees": 1}, place="'images'", splits=("train", "val"))
        Traceback (most recent call last):
        ...
        ValueError: The class bees in 'images' has 1 image, ... Add images, or remove the class.
    """
    small = {name: count for name, count in counts.items() if count < len(splits)}
    if small:
        most = max(small.values())
        number = "1 image" if most == 1 else f"{most} images"
        raise ValueError(
            f"The class {_listed(list(small))} in {place} has {number}, which cannot be split into "
            f"one for each of {', '.join(splits)}. Add images, or remove the class."
        )
    if len(counts) < 2 and len(expected) < 2:
        raise ValueError(
            f"{place} has only the class {_listed(list(counts))}; there is nothing to tell apart. "
            "Add images of a second class."
        )


def sort_classes(names: Iterable[str]) -> list[str]:
    """Return class names in order: by value if all are whole numbers, or else by name.

    Example:
        >>> sort_classes(["10", "9"]), sort_classes(["10", "9", "bees"])
        (['9', '10'], ['10', '9', 'bees'])
    """
    names = list(names)
    return sorted(names, key=int if all(name.isdecimal() for name in names) else str)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
