"""Natural order of class names: numbers by value, one order on every machine and in every run."""

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal

_NUMBER = re.compile(r"(^[+-]?\d+(?:\.\d+)?|\d+(?:\.\d+)?)")

NaturalKey = tuple[list[str | Decimal], str]


def natural_key(name: str) -> NaturalKey:
    """Return what names are sorted by: text as text, the numbers in it by value, then the name.

    Names of equal value, such as ``1`` and ``01``, are in order as well.

    Example:
        >>> sorted(["grade 10", "grade 9", "1", "01", "-2", "0.5"], key=natural_key)
        ['-2', '0.5', '01', '1', 'grade 9', 'grade 10']
    """
    # Text and numbers take turns, text first, so that like is compared with like.
    parts = _NUMBER.split(name)
    return [Decimal(part) if place % 2 else part for place, part in enumerate(parts)], name


def sort_classes(names: Iterable[str]) -> list[str]:
    """Return class names in `natural_key` order.

    Example:
        >>> sort_classes({"10", "9", "bees"})
        ['9', '10', 'bees']
    """
    return sorted(names, key=natural_key)


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Return the names that differ only in case, spaces, the form of letters or of a number.

    Example:
        >>> look_alikes(["1", "01", "1.0", "2", "cat", "Cat"])
        [['01', '1', '1.0'], ['Cat', 'cat']]
    """
    alike: dict[tuple[str | Decimal, ...], list[str]] = {}
    for name in sort_classes(names):
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        alike.setdefault(tuple(natural_key(plain)[0]), []).append(name)
    return [group for group in alike.values() if len(group) > 1]
