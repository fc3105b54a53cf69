"""From records to the splits train, val and test, and the checks of their classes."""

import difflib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from lightning.pytorch.utilities import rank_zero_only

from tltool._objective import Objective
from tltool.data.datamodules.label_cells import found_classes, strata, to_labels
from tltool.data.datamodules.records import ImageRecord, check_groups
from tltool.data.datamodules.stratified_split import split_by_group, split_stratified
from tltool.data.files.folder_layout import WHOLE
from tltool.data.files.natural_order import sort_classes
from tltool.data.loading.samples import Samples, Splits

_warn = rank_zero_only(logging.getLogger(__name__).warning)

FEWEST_TUNING = 60
"""Images of a tuning split. Fewer tell little, and train: 50 of 250 are worth .012 of accuracy
(-.003 to +.027 over five sets, `scripts/benchmark/README.md`)."""

# A split is far above its fraction if it has more than 1.5 times that and more than a quarter: from
# 4 images of a class on, rounding gives no more.
_MOST_TIMES, _QUARTER = 1.5, 0.25


def make_splits(
    records: Sequence[ImageRecord],
    found: Sequence[str],
    learned: Sequence[str],
    fractions: Mapping[str, float],
    *,
    place: str,
    seed: int,
    tuning: float = 0.0,
    objective: Objective = "single_label",
) -> Splits:
    """Return the images of each split, labels as indices into the learned classes.

    Where no record has a split, all are split by the fractions. Where none validates, the training
    records are split in two. Where none tests, a tuning split may be taken out of the training
    images: it validates then, and what would have validated tests, on images that chose nothing.

    Args:
        records: The records of all images.
        found: The classes of the training images.
        learned: Those of the model, in the order of the labels.
        fractions: Share of each split but ``train``.
        place: Where the data lies, for messages.
        seed: Another seed, another split.
        tuning: Share of the training images for the tuning split; 0 for none. It is left out where
            it would have fewer than `FEWEST_TUNING` images, which could not choose; and, with a
            warning, where a class would be in one of the two parts only, as with groups of one
            class, or where small classes or large groups would make it far larger than its share.
        objective: What the labels are; a split keeps the shares of their `strata`.

    Raises:
        ValueError: If a class is not learned or too small, or a group is in two splits.

    Example:
        >>> records = [ImageRecord(f"{i}.jpg", f"{i}.jpg", "ab"[i % 2]) for i in range(10)]
        >>> splits = make_splits(records, "ab", "ab", {"val": 0.2}, place="'images'", seed=0)
        >>> len(splits.train), len(splits.val), splits.test
        (8, 2, None)
    """
    members_of: dict[str, list[ImageRecord]] = {}
    for record in records:
        members_of.setdefault(record.split, []).append(record)
    check_groups(records, place=place)
    if objective != "regression":
        for split, members in members_of.items():
            classes = found_classes([member.label for member in members], objective)
            check_class_names(classes, learned, place=place, split=split)
    whole = members_of.pop(WHOLE, None)
    if whole is None and "train" in members_of:
        whole = members_of.pop("train")
        fractions = {} if "val" in members_of else {"val": fractions["val"]}
    if whole is not None and objective == "single_label":
        counts = Counter(record.label for record in whole)
        needed = ["train"] if whole[0].group else ["train", *fractions]
        sizes = {name: counts[name] for name in found}
        check_class_sizes(sizes, place=place, splits=needed, expected=learned)
    if whole is not None:
        members_of |= _split(whole, fractions, seed, objective)
        _warn_of_sizes({name: members_of[name] for name in ("train", *fractions)}, fractions, place)
    parts, too_few = dict[str, list[ImageRecord]](), 0
    if "test" not in members_of and {"train", "val"} <= members_of.keys():
        parts, too_few = _tuning_split(members_of["train"], tuning, seed, objective, place)
    if parts:
        members_of |= {"test": members_of["val"], **parts}
    samples = {
        split: _samples(members, learned, objective) for split, members in members_of.items()
    }
    return Splits(**samples, has_tuning=bool(parts), too_few_to_tune=too_few)


def _tuning_split(
    records: list[ImageRecord], fraction: float, seed: int, objective: Objective, place: str
) -> tuple[dict[str, list[ImageRecord]], int]:
    """Return the two parts of the training images, or none, and how many are too few for it."""
    number = int(len(records) * fraction)
    if number < FEWEST_TUNING:
        return {}, number
    if not _has_several_groups(records):
        return {}, 0
    parts = _split(records, {"val": fraction}, seed, objective)
    missing = _missing_classes(parts) if objective == "single_label" else {}
    number = len(parts["val"])
    if missing:
        why = f"of whole groups, {_lacking(missing)}. Add groups with these classes"
    elif _is_far_above(number, len(records), fraction):
        of, more = ("whole groups", "groups") if records[0].group else ("small classes", "images")
        why = f"of {of}, it would have {number} of {len(records)} images. Add {more}"
    else:
        return (parts, 0) if number >= FEWEST_TUNING else ({}, number)
    _warn(
        "No tuning split is taken from the training images in %s: %s, or give the images a test "
        "split.",
        *(place, why),
    )
    return {}, 0


def _is_far_above(number: int, total: int, fraction: float) -> bool:
    return number > max(_MOST_TIMES * fraction, _QUARTER) * total


def _warn_of_sizes(
    parts: Mapping[str, Sequence[ImageRecord]], fractions: Mapping[str, float], place: str
) -> None:
    """Warn of splits that whole groups make far larger or smaller than their fractions."""
    groups = Counter(record.group for part in parts.values() for record in part)
    (largest, size), total = groups.most_common(1)[0], groups.total()
    for split, fraction in fractions.items():
        number = len(parts[split])
        is_far = _is_far_above(number, total, fraction) or number < fraction * total / 2
        if largest and is_far:
            _warn(
                "In %s --data.%s_fraction %g asks for %d of %d images, and %s gets %d: groups stay "
                "whole, and the largest, %s, has %d. Add groups, or give each image its split.",
                *(place, split, fraction, fraction * total, total, split, number, largest, size),
            )


def _has_several_groups(records: Sequence[ImageRecord]) -> bool:
    return len({record.group or record.name for record in records}) > 1


def _missing_classes(parts: Mapping[str, Sequence[ImageRecord]]) -> dict[str, list[str]]:
    """Return the classes that a part has no image of, by part, where it could have one.

    A class of one image trains, and is not missing elsewhere.
    """
    counts = {part: Counter(record.label for record in each) for part, each in parts.items()}
    whole: Counter[str] = sum(counts.values(), Counter())
    missing = {
        part: [name for name in whole if not found[name] and (part == "train" or whole[name] > 1)]
        for part, found in counts.items()
    }
    return {part: sort_classes(names) for part, names in missing.items() if names}


def _lacking(missing: Mapping[str, Sequence[str]]) -> str:
    return " and ".join(
        f"{'train' if part == 'train' else 'it'} would have no image of {_listed(names)}"
        for part, names in missing.items()
    )


def _split(
    records: list[ImageRecord], fractions: Mapping[str, float], seed: int, objective: Objective
) -> dict[str, list[ImageRecord]]:
    """Split by group if the records have one, or else each class by the same fractions."""
    if not fractions:
        return {"train": records}
    labels = strata([record.label for record in records], objective)
    keys = [record.group or record.name for record in records]
    split_indices = split_by_group if records[0].group else split_stratified
    indices_of = split_indices(keys, labels, fractions, seed=seed)
    return {split: [records[index] for index in indices] for split, indices in indices_of.items()}


def _samples(
    records: Sequence[ImageRecord], learned: Sequence[str], objective: Objective
) -> Samples:
    groups = [record.group for record in records]
    labels = to_labels([record.label for record in records], learned, objective)
    return Samples([record.path for record in records], labels, groups if all(groups) else None)


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
        >>> check_class_names(["red"], ["ants", "bees"], place="'images'", split="val")
        Traceback (most recent call last):
        ...
        ValueError: The model knows ants, bees, but ... the class red: these are other images...
    """
    found = sort_classes(found)
    is_known = frozenset(known)
    unknown = [name for name in found if name not in is_known]
    which = "" if split == "all" else f"{split} "
    if unknown and len(unknown) == len(found):
        raise ValueError(
            f"The model knows {_listed(known)}, but the {which}images in {place} have the class "
            f"{_listed(found)}: these are other images. Name those that it was trained for, "
            "or rename the classes."
        )
    if unknown:
        raise ValueError(
            f"The {which}images in {place} have the class {_listed(unknown)}, which the model does "
            f"not learn. Classes found: {_listed(found)}. Classes of the training images or the "
            f"checkpoint: {_listed(known)}. Rename or remove it, or give training images of it."
        )


def check_class_sizes(
    counts: Mapping[str, int], *, place: str, splits: Sequence[str], expected: Sequence[str] = ()
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
        >>> check_class_sizes({"ants": 7, "antss": 1}, place="'images'", splits=("train", "val"))
        Traceback (most recent call last):
        ...
        ValueError: The class antss ... Is 'antss' 'ants', misspelled? Add images, or remove...
        >>> check_class_sizes({"ants": 7, "bees": 0}, place="'images'", splits=["train"])
        Traceback (most recent call last):
        ...
        ValueError: The class bees in 'images' has no image. Add images, or remove the class.
    """
    small = {name: count for name, count in counts.items() if count < len(splits)}
    if small:
        most = max(small.values())
        number = "1 image" if most == 1 else f"{most} images"
        why = f"{number}, which cannot be split into one for each of {', '.join(splits)}"
        raise ValueError(
            f"The class {_listed(list(small))} in {place} has {why if most else 'no image'}. "
            f"{_misspelled(small, counts)}Add images, or remove the class."
        )
    if len(counts) < 2 and len(expected) < 2:
        raise ValueError(
            f"{place} has only the class {_listed(list(counts))}; there is nothing to tell apart. "
            "Add images of a second class."
        )


def _misspelled(small: Collection[str], names: Collection[str]) -> str:
    """Return a question where a class of few images looks like another one, misspelled."""
    for name in small:
        near = difflib.get_close_matches(
            name, [n for n in names if n not in small], n=1, cutoff=0.8
        )
        if near:
            return f"Is {name!r} {near[0]!r}, misspelled? "
    return ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
