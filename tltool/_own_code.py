"""Hash of the code of classes that are the user's own, which may change at any time."""

import hashlib
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

#: Their versions say what they do.
_LIBRARIES = {
    *("tltool", "torch", "timm", "torchvision", "torchmetrics", "lightning"),
    *("builtins", "abc", "typing", "collections"),
}
_PLAIN = (bool, int, float, str, bytes, tuple, list, type(None))
_MEMBERS = (tuple, list)


def is_own(cls: type) -> bool:
    """Tell whether a class is none of a library whose version is known.

    Example:
        >>> is_own(int), is_own(type("Square", (), {"__module__": "activations"}))
        (False, True)
    """
    return cls.__module__.partition(".")[0] not in _LIBRARIES


def own_code(cls: type) -> str | None:
    """Return a hash of the code of a class and of its own bases, or ``None`` for a library's.

    That of the code that runs, not of its file, which may have been edited since. Functions outside
    of the class do not count.

    Example:
        >>> own_code(int) is None
        True
        >>> double, triple = (
        ...     type("Times", (), {"__call__": call, "__module__": "own"})
        ...     for call in (lambda self, x: 2 * x, lambda self, x: 3 * x)
        ... )
        >>> own_code(double) == own_code(triple)
        False
    """
    if not is_own(cls):
        return None
    found = [
        (base.__qualname__, name, fact)
        for base in cls.__mro__
        if is_own(base)
        for name, value in sorted(vars(base).items())
        for fact in _facts(name, value)
    ]
    return hashlib.blake2b(repr(found).encode(), digest_size=16).hexdigest()


def plain_attributes(instance: object, kinds: tuple[type, ...] = _PLAIN) -> dict[str, str]:
    """Return the public attributes of an object that are plain data, as text.

    Args:
        instance: The object.
        kinds: The types that count; a truth value is no number here.
    """
    return {
        name: repr(_without_addresses(value))
        for name, value in sorted(vars(instance).items())
        if type(value) in kinds and not name.startswith("_")
    }


def _facts(name: str, value: Any) -> Iterator[Any]:
    """Yield what a member of a class does: its code and defaults, or its plain value."""
    members: tuple[Any, ...] = (value,)
    if isinstance(value, property):
        members = (value.fget, value.fset)
    for member in members:
        function = inspect.unwrap(getattr(member, "__func__", member))
        if isinstance(function, FunctionType):
            defaults = (function.__defaults__, function.__kwdefaults__)
            yield _code_facts(function.__code__), repr(_without_addresses(defaults))
        elif type(member) in _PLAIN and not name.startswith("__"):
            yield repr(_without_addresses(member))


def _code_facts(code: CodeType) -> tuple[Any, ...]:
    constants = [
        _code_facts(each) if isinstance(each, CodeType) else _ordered(each)
        for each in code.co_consts
    ]
    return code.co_code.hex(), code.co_names, constants


def _ordered(constant: object) -> str:
    """Return a constant as text, a set in one order."""
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _without_addresses(value: Any) -> Any:
    """Return a value with names in the place of objects, whose text is another in each process."""
    if isinstance(value, dict):
        return {name: _without_addresses(each) for name, each in value.items()}
    if type(value) in _MEMBERS:
        return type(value)(map(_without_addresses, value))
    return value if type(value) in _PLAIN else getattr(value, "__qualname__", type(value).__name__)
