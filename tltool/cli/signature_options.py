"""Command-line options from the signature and the docstring of a function."""

import argparse
import dataclasses
import inspect
import types
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser


def run_function(command: str, function: Callable[..., int | None], words: Sequence[str]) -> int:
    """Call a function with what a command line says, and return the exit status.

    Args:
        command: Name of the command.
        function: See `add_options_of`; it returns the exit status, or ``None`` for 0. The examples
            of its docstring stand at the end of the help.
        words: What stands behind the name on the command line.
    """
    docstring = docstring_parser.parse(function.__doc__ or "")
    examples = "".join(part.description or "" for part in docstring.examples)
    parser = argparse.ArgumentParser(
        f"tltool {command}",
        description=docstring.short_description,
        epilog="\n  ".join(["examples:", *examples.splitlines()]) if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options_of(function, parser)
    return function(**vars(parser.parse_args(list(words)))) or 0


def add_options_of(
    function: Callable[..., Any],
    parser: argparse.ArgumentParser,
    *,
    skip: Collection[str] = (),
    section: str = "",
) -> list[str]:
    """Add an option for each keyword of a function, and return their names.

    What may be given by position too is an argument without a flag. A ``bool`` that is false by
    default is a flag without a value, a ``list`` takes several values, a dataclass is a section.
    Parsers of jsonargparse check all types, those of argparse make a ``str``, a number or a `Path`.

    Args:
        function: Its docstring says what each argument is.
        parser: Where to add them.
        skip: Arguments that are no options.
        section: Stands in front of the names, such as ``axes.``.

    Example:
        >>> def double(number: int, *, much: bool = False) -> None:
        ...     '''Double a number.
        ...
        ...     Args:
        ...         number: The number.
        ...         much: Whether to double it twice.
        ...     '''
        >>> parser = argparse.ArgumentParser()
        >>> add_options_of(double, parser)
        ['number', 'much']
        >>> parser.parse_args(["3", "--much"])
        Namespace(number=3, much=True)
    """
    hints, parameters = get_type_hints(function), inspect.signature(function).parameters
    is_plain = type(parser) is argparse.ArgumentParser
    names = []
    for doc in docstring_parser.parse(function.__doc__ or "").params:
        name = doc.arg_name
        if name in skip:
            continue
        hint = hints[name]
        names.append(name)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            add_options_of(hint, parser, section=f"{name}.")
            continue
        options: dict[str, Any] = {"help": " ".join((doc.description or "").split())}
        if parameters[name].default is not inspect.Parameter.empty:
            options["default"] = parameters[name].default
        if hint is bool and not options.get("default"):
            options["action"] = "store_true"
        else:
            options |= _type_options(hint, is_plain=is_plain)
        is_positional = parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY
        if is_positional and "default" in options:
            options["nargs"] = "*" if "nargs" in options else "?"
        parser.add_argument(name if is_positional else f"--{section}{name}", **options)
    return names


def _type_options(hint: Any, *, is_plain: bool) -> dict[str, Any]:
    """Return what ``add_argument`` needs to know of a type."""
    inner = get_args(hint)[0] if get_origin(hint) in (Union, types.UnionType) else hint
    if get_origin(inner) is list:
        return {"nargs": "+", "type": get_args(inner)[0]}
    if not is_plain:
        return {"type": hint}
    hint = inner
    return {"choices": get_args(hint)} if get_origin(hint) is Literal else {"type": hint}
