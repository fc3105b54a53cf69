"""From records to the splits train, val and test: as the data say, or by a seed."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tltool.data.datamodules.class_checks import check_class_names, check_class_sizes
from tltool.data.datamodules.records import ImageRecord, check_groups
from tltool.data.datamodules.stratified_split import split_by_group, split_stratified
from tltool.data.files.folder_layout import WHOLE
from tltool.data.loading.samples import Samples, Splits


def make_splits(
    records: Sequence[ImageRecord],
    found: Sequence[str],
    learned: Sequence[str],
    fractions: Mapping[str, float],
    *,
    place: str,
    seed: int,
) -> Splits:
    """Return the images of each split, labels as indices into the learned classes.

    Where no record has a split, all are split by the fractions. Where none validates, the training
    records are split in two.

    Args:
        records: The records of all images.
        found: The classes of the training images.
        learned: Those of the model, in the order of the labels.
        fractions: Share of each split but ``train``.
        place: Where the data lies, for messages.
        seed: Another seed, another split.

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
    for split, members in members_of.items():
        check_class_names({m.label for m in members}, learned, place=place, split=split)
    whole = members_of.pop(WHOLE, None)
    if whole is None and "train" in members_of:
        whole = members_of.pop("train")
        fractions = {} if "val" in members_of else {"val": fractions["val"]}
    if whole is not None:
        counts = Counter(record.label for record in whole)
        needed = ["train"] if whole[0].group else ["train", *fractions]
        sizes = {name: counts[name] for name in found}
        check_class_sizes(sizes, place=place, splits=needed, expected=learned)
        members_of |= _split(whole, fractions, seed)
    label_of = {name: label for label, name in enumerate(learned)}
    return Splits(**{split: _samples(members, label_of) for split, members in members_of.items()})


def _split(
    records: list[ImageRecord], fractions: Mapping[str, float], seed: int
) -> dict[str, list[ImageRecord]]:
    """Split by group if the records have one, or else each class by the same fractions."""
    if not fractions:
        return {"train": records}
    labels = [record.label for record in records]
    if records[0].group:
        groups = [record.group for record in records]
        indices_of = split_by_group(groups, labels, fractions, seed=seed)
    else:
        names = [record.name for record in records]
        indices_of = split_stratified(names, labels, fractions, seed=seed)
    return {split: [records[index] for index in indices] for split, indices in indices_of.items()}


def _samples(records: Sequence[ImageRecord], label_of: Mapping[str, int]) -> Samples:
    groups = [record.group for record in records]
    labels = [label_of[record.label] for record in records]
    return Samples([record.path for record in records], labels, groups if all(groups) else None)
