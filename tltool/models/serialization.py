"""Serializable modules: how one was made, as plain data from which a checkpoint rebuilds it."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from itertools import dropwhile
from typing import Any, TypeVar

from torch import nn

from tltool.models.class_paths import find_imported

M = TypeVar("M", bound=nn.Module)


def serializable(cls: type[M]) -> type[M]:
    """Make each instance of a module class carry how it was made.

    The instance gets ``description = {"class_path": ..., "init_args": ...}``, plain data that a
    checkpoint stores and that loads with ``weights_only=True``. A head needs it only where a
    function makes it: of one that a class makes, or that YAML describes, `build_serializable`
    records the same.

    Raises:
        TypeError: At construction, if an argument is not plain data (strings, numbers, booleans,
            ``None``, and lists, tuples and mappings of them).

    Example:
        >>> @serializable
        ... class Scale(nn.Module):
        ...     def __init__(self, factor: float = 2.0) -> None:
        ...         super().__init__()
        >>> Scale().description["init_args"]
        {'factor': 2.0}
    """
    init = cls.__init__

    @functools.wraps(init)
    def recording_init(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self) is cls:  # A subclass is decorated itself, or refused by the task.
            describe_as(self, *args, **kwargs)

    cls.__init__ = recording_init  # type: ignore[method-assign]  # the decorator's purpose
    return cls


def describe_as(module: nn.Module, *args: Any, **kwargs: Any) -> None:
    """Record that a module was made by calling its class with these arguments.

    Where the module has ``resolved_args``, these are recorded in the place of what was given.

    Raises:
        TypeError: If the class does not take them, or one is not plain data.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> describe_as(layer, 2, 3)
        >>> layer.description["class_path"], layer.description["init_args"]["out_features"]
        ('torch.nn.modules.linear.Linear', 3)
    """
    cls = type(module)
    signature = inspect.signature(cls)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            arguments |= arguments.pop(name)
    arguments |= getattr(module, "resolved_args", {})
    where = f"{cls.__name__}({{}}=...)"
    description = {
        "class_path": f"{cls.__module__}.{cls.__qualname__}",
        "init_args": {name: plain(value, where.format(name)) for name, value in arguments.items()},
    }
    module.description = description  # type: ignore[assignment]  # plain data, no submodule


def build_serializable(factory: Callable[..., nn.Module], *args: Any) -> nn.Module:
    """Return ``factory(*args)``, with how it was made where the factory tells it.

    A class tells it, and a ``functools.partial`` of one, which is what jsonargparse makes of YAML.

    Raises:
        TypeError: If a class got an argument that is not plain data.

    Example:
        >>> head = build_serializable(functools.partial(nn.Linear, bias=False), 2, 3)
        >>> head.description["init_args"]
        {'in_features': 2, 'out_features': 3, 'bias': False, 'device': None, 'dtype': None}
    """
    module = factory(*args)
    call = factory if isinstance(factory, functools.partial) else functools.partial(factory)
    # jsonargparse wraps functions of its own around the call of the class.
    called = list(dropwhile(_is_of_jsonargparse, [call.func, *call.args]))
    if called and called[0] is type(module) and not hasattr(module, "description"):
        describe_as(module, *called[1:], *args, **call.keywords)
    return module


def _is_of_jsonargparse(called: object) -> bool:
    return getattr(called, "__module__", "").startswith("jsonargparse.")


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
        description: What `describe_as` recorded.
        *args: Positional arguments that come in front of the recorded ones.
        **overrides: Arguments that replace recorded ones.

    Raises:
        ValueError: If the class is not there, is no module, or takes no such arguments.
    """
    path = description["class_path"]
    cls = find_imported(path, "The checkpoint")
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ValueError(f"The checkpoint names {path}, which is no torch.nn.Module.")
    check_known_arguments(cls, description["init_args"])
    token = _rebuilding.set(True)
    try:
        made = cls(*args, **{**description["init_args"], **overrides})
    finally:
        _rebuilding.reset(token)
    if not hasattr(made, "description"):  # The YAML of a run named it, undecorated.
        made.description = dict(description)  # type: ignore[assignment]  # no tensor
    return made


def check_known_arguments(cls: type, arguments: Iterable[str]) -> None:
    """Refuse arguments of a checkpoint that a class does not take, as those of a newer version.

    Raises:
        ValueError: The message names them.

    Example:
        >>> check_known_arguments(nn.ReLU, ["slope"])
        Traceback (most recent call last):
        ...
        ValueError: The checkpoint makes its ReLU with slope, which it does not take here. ...
    """
    parameters = inspect.signature(cls).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return
    unknown = [name for name in arguments if name not in parameters]
    if unknown:
        raise ValueError(
            f"The checkpoint makes its {cls.__name__} with {', '.join(unknown)}, which it does not "
            "take here. Another version, or other code, has written it: load it with that."
        )


def is_rebuilding() -> bool:
    """Tell whether a module is being made again by `rebuild`: what it warns of was said before."""
    return _rebuilding.get()
