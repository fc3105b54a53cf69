"""Find a name in a table, or raise an error that names the nearest one."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")
_LISTED = 60  # names that a message has room for


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return ``table[name]``, or raise an error that names the valid choices.

    Args:
        table: From name to value.
        name: The name that a user wrote.
        kind: What the names stand for, such as ``"activation"``; for the message.

    Raises:
        ValueError: If ``name`` is not in ``table``.

    Example:
        >>> lookup({"relu": 1, "gelu": 2}, "gleu", kind="activation")
        Traceback (most recent call last):
        ...
        ValueError: Unknown activation 'gleu'. Did you mean 'gelu'? Choose one of: gelu, relu.
    """
    if name in table:
        return table[name]
    nearest = nearest_name(table, name)
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    more = f" and {len(table) - _LISTED:,} more" if len(table) > _LISTED else ""
    named = ", ".join(sorted(table)[:_LISTED])
    choices = f"Choose one of: {named}{more}." if table else "There is none to choose."
    raise ValueError(f"Unknown {kind} {name!r}.{hint} {choices}")


def nearest_name(table: Mapping[str, object], name: str) -> str | None:
    """Return the name in ``table`` that looks most like ``name``, or ``None`` if none does.

    Upper case, dashes and spaces make no difference, so that the name of a class finds its layer.

    Example:
        >>> nearest_name({"leaky_relu": 1, "relu": 2}, "Leaky-ReLU")
        'leaky_relu'
    """
    spelled = name.lower().replace("-", "_").replace(" ", "_")
    if spelled in table:
        return spelled
    near = difflib.get_close_matches(spelled, sorted(table), n=1, cutoff=0.6)
    containing = sorted((name for name in table if spelled in name), key=len)
    return next(iter([*near, *containing]), None)
