"""From records to the splits train, val and test: as the data say, or by a seed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tltool.data.datamodules.class_checks import check_class_names, check_class_sizes, sort_classes
from tltool.data.datamodules.records import ImageRecord, check_groups
from tltool.data.datamodules.stratified_split import split_by_group, split_stratified
from tltool.data.files.folder_layout import WHOLE
from tltool.data.loading.samples import Samples, Splits, relabel


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        found: Those of its training images, in order.
        learned: Those of the model, in the order of the labels.
        place: Where the data lies, for messages.
    """

    found: Sequence[str]
    learned: Sequence[str]
    place: str

    def in_order(self, names: set[str]) -> list[str]:
        """Return some classes in the order of those found, others behind."""
        others = sort_classes(names.difference(self.found))
        return [name for name in self.found if name in names] + others


def make_splits(
    records: Sequence[ImageRecord], classes: Classes, fractions: Mapping[str, float], *, seed: int
) -> Splits:
    """Return the images of each split, labels as indices into the learned classes.

    Where no record has a split, all are split by the fractions. Where none validates, the training
    records are split in two.

    Args:
        records: The records of all images.
        classes: The classes.
        fractions: Share of each split but ``train``.
        seed: Another seed, another split.

    Raises:
        ValueError: If a class is not learned or too small, or a group is in two splits.

    Example:
        >>> records = [ImageRecord(f"{i}.jpg", f"{i}.jpg", "ab"[i % 2]) for i in range(10)]
        >>> splits = make_splits(records, Classes("ab", "ab", "'images'"), {"val": 0.2}, seed=0)
        >>> len(splits.train), len(splits.val), splits.test
        (8, 2, None)
    """
    found: dict[str, list[ImageRecord]] = {}
    for record in records:
        found.setdefault(record.split, []).append(record)
    check_groups(records, place=classes.place)
    for split, members in found.items():
        names = classes.in_order({record.label for record in members})
        check_class_names(names, classes.learned, place=classes.place, split=split)
    if WHOLE in found:
        found |= _split(found.pop(WHOLE), classes, fractions, seed)
    elif "train" in found:
        fractions = {} if "val" in found else {"val": fractions["val"]}
        found |= _split(found.pop("train"), classes, fractions, seed)
    return Splits(**{split: _samples(members, classes) for split, members in found.items()})


def _split(
    records: list[ImageRecord], classes: Classes, fractions: Mapping[str, float], seed: int
) -> dict[str, list[ImageRecord]]:
    """Split by group if the records have one, or else each class by the same fractions."""
    labels = [record.label for record in records]
    groups = [record.group for record in records]
    counted = Counter(labels)
    counts = {name: counted[name] for name in classes.found}
    needed = ["train"] if groups[0] else ["train", *fractions]
    check_class_sizes(counts, place=classes.place, splits=needed, expected=classes.learned)
    if not fractions:
        return {"train": records}
    if groups[0]:
        indices_of = split_by_group(groups, labels, fractions, seed=seed)
    else:
        names = [record.name for record in records]
        indices_of = split_stratified(names, labels, fractions, seed=seed)
    return {split: [records[index] for index in indices] for split, indices in indices_of.items()}


def _samples(records: Sequence[ImageRecord], classes: Classes) -> Samples:
    labels = relabel([record.label for record in records], classes.learned)
    groups = [record.group for record in records]
    return Samples([record.path for record in records], labels, groups if all(groups) else None)
