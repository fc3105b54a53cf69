"""Plain-data descriptions of modules, so that a checkpoint alone can rebuild them."""

import functools
import importlib
import inspect
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def described(cls: type[M]) -> type[M]:
    """Make each instance of a module class carry how it was made.

    The instance gets ``description = {"class_path": ..., "init_args": ...}``, plain data that a
    checkpoint stores and that loads with ``weights_only=True``. Decorate your own head with it to
    train it with tltool.

    Raises:
        TypeError: At construction, if an argument is not plain data (strings, numbers, booleans,
            ``None``, and lists, tuples and mappings of them).

    Example:
        >>> @described
        ... class Scale(nn.Module):
        ...     def __init__(self, factor: float = 2.0) -> None:
        ...         super().__init__()
        >>> Scale().description["init_args"]
        {'factor': 2.0}
    """
    init = cls.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def recording_init(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        is_subclass = type(self) is not cls
        if is_subclass:  # It describes itself, or is refused by the task.
            return
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        init_args = {
            name: plain(value, f"{cls.__name__}({name}=...)")
            for name, value in list(bound.arguments.items())[1:]
        }
        self.description = {
            "class_path": f"{cls.__module__}.{cls.__qualname__}",
            "init_args": init_args,
        }

    cls.__init__ = recording_init  # type: ignore[method-assign]  # the decorator's purpose
    return cls


def plain(value: Any, where: str) -> Any:
    """Return ``value`` as plain data, tuples as lists.

    Raises:
        TypeError: If ``value`` holds anything else; the message names ``where``.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [plain(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item, where) for key, item in value.items()}
    raise TypeError(
        f"{where} got a {type(value).__name__}, which a checkpoint cannot store as plain data. "
        "Pass names and numbers, for example activation='relu' instead of nn.ReLU()."
    )


_rebuilding: ContextVar[bool] = ContextVar("rebuilding", default=False)


def rebuild(description: Mapping[str, Any], *args: Any, **overrides: Any) -> nn.Module:
    """Make a module again from its description.

    Only classes of tltool, and classes whose module the program has imported already, are made: a
    checkpoint from a stranger cannot make Python import something.

    Args:
        description: What ``described`` recorded.
        *args: Positional arguments that come in front of the recorded ones.
        **overrides: Arguments that replace recorded ones.

    Raises:
        ValueError: If the class is not there, or is no module.
    """
    module_name, _, class_name = description["class_path"].rpartition(".")
    if module_name.partition(".")[0] == "tltool":
        importlib.import_module(module_name)
    module = sys.modules.get(module_name)
    if module is None:
        raise ValueError(
            f"The checkpoint needs the class {description['class_path']}, which is not part of "
            f"tltool. Import it first: `import {module_name}`, then load the checkpoint from "
            f"Python; or name it on the command line: --modules {module_name}."
        )
    cls = getattr(module, class_name, None)
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ValueError(
            f"The checkpoint names {description['class_path']}, which is no torch.nn.Module."
        )
    token = _rebuilding.set(True)
    try:
        made = cls(*args, **{**description["init_args"], **overrides})
    finally:
        _rebuilding.reset(token)
    if not hasattr(made, "description"):  # The YAML of a run has named it, without `described`.
        made.description = dict(description)  # type: ignore[assignment]  # no tensor
    return made


def is_rebuilding() -> bool:
    """Tell whether a module is being made again by `rebuild`: what it warns of was said before."""
    return _rebuilding.get()
