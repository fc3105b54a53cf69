"""Names of the options of each command, read from the sources: torch is not imported for them."""

import ast
import importlib.util
import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from tltool.cli.help_page import NAMES, page_options, usual_word

_PACKAGE = Path(__file__).parents[1]
_FLAG = re.compile(r"--(?P<name>(?P<section>[\w-]+)(?:\.(?P<key>[\w-]+))?[\w.-]*)")
_OWN_CLASS = {"-c", "--config", "--data"}  # Behind them stands what may name another class of data.
_HELP = {"help", "help_all", "help_section", "print_config"}


def unknown_flag(command: str, words: Sequence[str]) -> str | None:
    """Return an error about the first flag that a command does not have, with what to type instead.

    What is not known here, such as the arguments of classes, the parser tells.

    Args:
        command: Its name.
        words: What stands behind it.

    Example:
        >>> unknown_flag("predict", ["--ckpt_path", "best.ckpt", "--root", "images"])
        'tltool predict has no --root. Did you mean --data.root?'
        >>> unknown_flag("validate", ["--trainer.device", "2"])
        'There is no --trainer.device. Did you mean --trainer.devices?'
        >>> unknown_flag("report", ["runs/images", "--outptu", "page.html"])
        'tltool report has no --outptu. Did you mean --output?'
        >>> unknown_flag("report", ["runs/images", "--output", "page.html"])
    """
    has_own_class = any(word.partition("=")[0] in _OWN_CLASS for word in words)
    for found in filter(None, map(_FLAG.match, words)):
        section, key = found["section"], found["key"]
        if not key:
            error = _unknown_option(command, section)
        elif section == "data" and has_own_class:
            error = None
        else:
            error = _unknown_key(command, section, key)
        if error:
            return error
    return None


def _unknown_option(command: str, name: str) -> str | None:
    """Return an error about an option without a section; ``None`` where the parser decides."""
    sections = NAMES["sections"].get(command)
    if sections is None:
        return None
    known = own_options(command) | set(sections) | _HELP
    # A parser of argparse takes the beginning of a name for it.
    if name in known or (not sections and any(each.startswith(name) for each in known)):
        return None
    usual = usual_word(name) or ""
    near = usual if usual.partition(".")[0] in known else _nearest(name.replace("-", "_"), known)
    return f"tltool {command} has no --{name}. {_advice(near, command)}"


def _unknown_key(command: str, section: str, key: str) -> str | None:
    names = section_keys(section) if section in sections_of(command) else None
    if names is None or key in {*names, "help"}:
        return None
    usual = usual_word(key) or ""
    near = usual.removeprefix(f"{section}.") if usual.startswith(f"{section}.") else None
    near = near or _nearest(key.replace("-", "_"), names)
    advice = _advice(near and f"{section}.{near}", command, section)
    return f"There is no --{section}.{key}. {advice}"


def sections_of(command: str) -> set[str]:
    """Return the sections of the options of a command.

    Example:
        >>> sorted(sections_of("predict"))
        ['ckpt_path', 'config', 'data', 'modules', 'trainer']
    """
    known = NAMES["sections"].get(command)
    whole = {key.partition(".")[0] for key in page_options()}
    return set(known) if known is not None else whole


@cache
def own_options(command: str) -> set[str]:
    """Return the options that only this command has: the keywords of its function.

    Example:
        >>> {"output", "top_k"} <= own_options("predict")
        True
    """
    file = _PACKAGE / "cli" / f"{'validate' if command == 'test' else command}.py"
    return set(_keywords(file, command))


@cache
def section_keys(section: str) -> set[str] | None:
    """Return the keys of a section; ``None`` where they depend on a class.

    Example:
        >>> section_keys("model") >= {"backbone", "head", "class_weights"}
        True
    """
    if section == "model":
        return set(_keywords(_PACKAGE / "training" / "image_task.py", "ImageTask"))
    if section == "data":
        files = (_PACKAGE / "data" / "datamodules").glob("*.py")
        return {name for file in files for name in _all_arguments(file)}
    lightning = importlib.util.find_spec("lightning") if section == "trainer" else None
    if lightning is None or lightning.origin is None:
        return None
    file = Path(lightning.origin).parent / "pytorch" / "trainer" / "trainer.py"
    return set(_keywords(file, "Trainer")) if file.is_file() else None


def _keywords(file: Path, name: str) -> Iterator[str]:
    """Yield the keywords of a function, or of the ``__init__`` of a class."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == name:
            init = (each for each in node.body if getattr(each, "name", "") == "__init__")
            yield from (argument for each in init for argument in _arguments(each))
        elif isinstance(node, ast.FunctionDef) and node.name == name:
            yield from (argument.arg for argument in node.args.kwonlyargs)


def _all_arguments(file: Path) -> Iterator[str]:
    """Yield the arguments of all classes in a file, and the fields of its typed dicts."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            yield from _arguments(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _arguments(node: ast.AST) -> list[str]:
    assert isinstance(node, ast.FunctionDef)  # noqa: S101  # an __init__
    return [argument.arg for argument in [*node.args.args, *node.args.kwonlyargs]]


def _nearest(name: str, names: Collection[str]) -> str | None:
    close = get_close_matches(name, names, n=1)
    return close[0] if close else None


def _advice(near: str | None, command: str, section: str = "") -> str:
    if near:
        return f"Did you mean --{near}?"
    return f"tltool {command} --help{' ' if section else ''}{section} tells those that there are."
