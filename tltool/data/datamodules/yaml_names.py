"""Class names that YAML has read as something else: 0 for the class ``0``, false for ``no``."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml

from tltool._lookup import lookup

T = TypeVar("T")

_TYPES = {"bool", "int", "float", "null"}


def as_names(values: Sequence[object]) -> list[str]:
    """Return class names as text, where YAML has read some as numbers.

    Raises:
        ValueError: If one is a truth value or null: nobody knows which word it was; or if one is
            there twice.

    Example:
        >>> as_names(["ants", 0, 1])
        ['ants', '0', '1']
    """
    lost = [value for value in values if value is None or isinstance(value, bool)]
    if lost:
        raise ValueError(
            f"The class names {list(values)} are not all text: YAML reads words such as no, yes, "
            "off and null as something else. Put each name into quotes, such as "
            """--data.class_names "['no', 'yes']"."""
        )
    names = [str(value) for value in values]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"The class names {names} have {repeated[0]!r} more than once. Give each class once, "
            "in the order of the labels."
        )
    return names


def by_name(given: Mapping[Any, T], names: Sequence[str]) -> dict[str, T]:
    """Return what is given for some names, by name.

    Args:
        given: By name, or by the number, truth value or null that YAML makes of a name without
            quotes.
        names: The names that there are.

    Raises:
        ValueError: If there is no such name, or several are read alike.

    Example:
        >>> by_name({False: 1, "yes": 2}, ["no", "yes"]), by_name({0.5: 1}, ["0.50", "1"])
        ({'no': 1, 'yes': 2}, {'0.50': 1})
    """
    known = dict.fromkeys(names)
    read: dict[tuple[type, object], list[str]] = {}
    if not all(isinstance(key, str) for key in given):
        for name in names:
            read.setdefault(_typed(name), []).append(name)
    found = {}
    for key, value in given.items():
        meant = read.get((type(key), key), []) if not isinstance(key, str) else []
        if len(meant) > 1:
            raise ValueError(
                f"The classes {', '.join(meant)} are all read as {key} by YAML. Put the name into "
                f"quotes, such as '{meant[0]}'."
            )
        name = meant[0] if meant else str(key)
        lookup(known, name, kind="class")
        found[name] = value
    return found


def _typed(name: str) -> tuple[type, object]:
    """Return what YAML reads where a name stands without quotes, and its type: 1 is not true."""
    tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, name, (True, False))  # type: ignore[no-untyped-call]
    read = yaml.safe_load(name) if tag.rpartition(":")[2] in _TYPES else name
    return type(read), read
