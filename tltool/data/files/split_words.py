"""Which split a folder's name stands for: train, Training, seg_test, validation_images."""

import re
from collections.abc import Iterable
from typing import NamedTuple

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What the splits are called, in lower case."""

SPLITS = tuple(dict.fromkeys(SPLIT_NAMES.values()))

_WORDS = {
    "train": r"train|training|trn|trainval",
    "val": r"val|valid|validation|validate|dev|eval|evaluation",
    "test": r"test|testing|tst|holdout",
}
_FILLERS = r"sets?|data|datasets?|images?|imgs?|photos?|pictures?|splits?|folders?"
_SPLIT_WORD = re.compile(
    f"(?:{'|'.join(f'(?P<{split}>{words})' for split, words in _WORDS.items())})(?:{_FILLERS})?"
)
_NAMES_OF_OTHERS = {"train", "dev"}  # A vehicle, a person: alone it is a class.


class SplitWord(NamedTuple):
    """A word for a split in a folder's name, and the other words, such as ``seg`` of seg_train."""

    split: str
    rest: tuple[str, ...]


def split_word(name: str) -> SplitWord | None:
    """Return the split that a folder's name stands for, or ``None`` if it has no such word.

    Example:
        >>> [split_word(name) for name in ("seg_train", "TestImages", "valley")]
        [SplitWord(split='train', rest=('seg',)), SplitWord(split='test', rest=()), None]
    """
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    words = [word for word in words if not re.fullmatch(_FILLERS, word)]
    for place, word in enumerate(words):
        found = _SPLIT_WORD.fullmatch(word)
        if found:
            return SplitWord(str(found.lastgroup), (*words[:place], *words[place + 1 :]))
    return None


def named_splits(names: Iterable[str]) -> dict[str, str]:
    """Return the folder of each split among class folders whose names are words for splits.

    Several must differ in that word alone, or one must be nothing else. A ``train`` beside other
    classes is a vehicle.

    Example:
        >>> named_splits(["seg_pred", "seg_test", "seg_train"])
        {'train': 'seg_train', 'test': 'seg_test'}
        >>> named_splits(["bus", "train"]), named_splits(["train_station", "test_tube"])
        ({}, {})
    """
    alike: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        word = split_word(name)
        if word is not None:
            alike.setdefault(word.rest, {}).setdefault(word.split, name)
    for rest, found in sorted(alike.items()):
        is_word = not rest and not _NAMES_OF_OTHERS.issuperset(map(str.lower, found.values()))
        if len(found) > 1 or is_word:
            return {split: found[split] for split in SPLITS if split in found}
    return {}
