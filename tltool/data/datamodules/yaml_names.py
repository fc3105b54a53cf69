"""Class names that YAML has read as something else: 0 for the class ``0``, false for ``no``."""

from collections.abc import Sequence

import yaml

from tltool._lookup import lookup

_TYPES = {"bool", "int", "float", "null"}


def as_names(values: Sequence[object]) -> list[str]:
    """Return class names as text, where YAML has read some as numbers.

    Raises:
        ValueError: If one is a truth value or null: nobody knows which word it was.

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
    return [str(value) for value in values]


def name_of(value: object, names: Sequence[str]) -> str:
    """Return the name that a value of a YAML file means.

    Args:
        value: A name, or the number, truth value or null that YAML makes of it without quotes.
        names: The names that there are.

    Raises:
        ValueError: If there is none, or several are read alike.

    Example:
        >>> name_of(False, ["no", "yes"]), name_of(1, ["0", "1"]), name_of(0.5, ["0.50", "1"])
        ('no', '1', '0.50')
    """
    if isinstance(value, str):
        lookup(dict.fromkeys(names), value, kind="class")
        return value
    meant = [name for name in names if (type(value), value) == _typed(name)]
    if len(meant) > 1:
        raise ValueError(
            f"The classes {', '.join(meant)} are all read as {value} by YAML. Put the name into "
            f"quotes, such as '{meant[0]}'."
        )
    return meant[0] if meant else name_of(str(value), names)


def _typed(name: str) -> tuple[type, object]:
    """Return what YAML reads where a name stands without quotes, and its type: 1 is not true."""
    tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, name, (True, False))  # type: ignore[no-untyped-call]
    read = yaml.safe_load(name) if tag.rpartition(":")[2] in _TYPES else name
    return type(read), read
