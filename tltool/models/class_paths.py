"""Class paths in plain data: whose modules they name, and that a checkpoint imports none of them.

Import of a module runs it. What a command line, a YAML file or a program names is of the user;
what a checkpoint or a run directory names may be of a stranger.
"""

import importlib
import sys
from collections.abc import Iterator
from typing import Any

_INSTALLED = {"tltool", "torch", "timm", "lightning"}


def class_paths(value: Any) -> Iterator[str]:
    """Yield each ``class_path`` in plain data, at any depth.

    Example:
        >>> list(class_paths({"class_path": "a.B", "init_args": {"of": [{"class_path": "c.D"}]}}))
        ['a.B', 'c.D']
    """
    if isinstance(value, dict):
        if isinstance(value.get("class_path"), str):
            yield value["class_path"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from class_paths(each)


def own_modules(value: Any) -> list[str]:
    """Return the modules of the user's own whose classes plain data name.

    Example:
        >>> own_modules([{"class_path": "tltool.Head"}, {"class_path": "my_heads.MyHead"}])
        ['my_heads']
    """
    modules = (path.rpartition(".")[0] for path in class_paths(value))
    return list(dict.fromkeys(m for m in modules if m and m.partition(".")[0] not in _INSTALLED))


def modules_option(value: Any) -> list[str]:
    """Return the option that names the `own_modules` of a configuration to a command."""
    found = own_modules(value)
    return ["--modules", *found] if found else []


def imported_or_none(path: str) -> Any:
    """Return what a class path names: of tltool, or where the program has imported its module.

    Example:
        >>> imported_or_none("tltool.Head").__name__, imported_or_none("my_heads.MyHead")
        ('Head', None)
    """
    module_name, _, name = path.rpartition(".")
    if module_name.partition(".")[0] == "tltool":
        importlib.import_module(module_name)
    return getattr(sys.modules.get(module_name), name, None)


def find_imported(path: str, whose: str) -> Any:
    """Return what a class path names, see `imported_or_none`; it may be no class.

    Args:
        path: The class path.
        whose: What names it, for messages: ``The checkpoint``.

    Raises:
        ValueError: If it is not there.

    Example:
        >>> find_imported("my_heads.MyHead", "The run")
        Traceback (most recent call last):
        ...
        ValueError: The run needs the class my_heads.MyHead, which is not part of tltool. ...
    """
    found, module = imported_or_none(path), path.rpartition(".")[0]
    if found is None and module in sys.modules:
        raise ValueError(
            f"{whose} needs the class {path}, and {module} has none of that name. Define it there; "
            "a class of a notebook belongs into a file, such as my_heads.py."
        )
    if found is None:
        raise ValueError(
            f"{whose} needs the class {path}, which is not part of tltool. Import it first: "
            f"`import {module}`, then load it from Python; or name it on the command line: "
            f"--modules {module}."
        )
    return found


def check_imported(value: Any, whose: str) -> None:
    """Raise unless all classes that plain data name are there without an import.

    Args:
        value: Such as a section of the configuration that lies in a run directory.
        whose: See `find_imported`.

    Raises:
        ValueError: If one is not.
    """
    for path in class_paths(value):
        # A short name is one of the classes that are known where it stands.
        if "." in path and not isinstance(find_imported(path, whose), type):
            raise ValueError(f"{whose} names {path}, which is no class.")
