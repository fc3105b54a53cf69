"""The argument parser of all commands: short errors that name the nearest option."""

import difflib
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

# What jsonargparse says of a key that does not exist, of a class that does not, and of what is
# missing.
UNKNOWN_KEY = re.compile(
    r"""[Uu]nrecognized arguments: (?:--)?(?P<flag>[\w.]+)"""
    r"""|[Oo]ption '(?P<option>[\w.]+)' is not accepted"""
    r"""|does not accept option '(?P<subcommand>[\w.]+)'"""
    r"""|Key ['"](?P<key>[\w.]+)['"] is not expected|No action for key "(?P<action>[\w.]+)\""""
)
UNKNOWN_CLASS = re.compile(
    r"""Parser key "(?P<section>[\w.]+)".*?dot import path string: (?P<name>\w+)""", re.DOTALL
)
WRONG_CHOICE = re.compile(
    r"""Parser key "(?P<key>[\w.]+)".*typing\.Literal\[.*"""
    r"""(?:Got|Given) value: (?P<value>[\w-]+)$""",
    re.DOTALL,
)
MISSING = re.compile(r"""(?:arguments are required: |Key ['"])(?P<key>[\w.]+)""")


class Parser(LightningArgumentParser):
    """LightningCLI's parser whose errors fit on the screen and name the nearest option."""

    #: Classes that a section accepts by short name, set once by the command line.
    known_classes: ClassVar[dict[str, tuple[type[Any], ...]]] = {}

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what is wrong and what to type instead, then exit with status 2."""
        sys.stderr.write(f"error: {self.explain(message)}\n")
        sys.stderr.write(
            "See --help for the options, or --print_config for all keys with their defaults.\n"
        )
        sys.exit(2)

    def explain(self, message: str) -> str:
        """Return an error message of jsonargparse with the nearest key or class behind it."""
        unknown_class = UNKNOWN_CLASS.search(message)
        if unknown_class and unknown_class["section"] in self.known_classes:
            section, name = unknown_class["section"], unknown_class["name"]
            names = sorted({cls.__name__ for cls in self.known_classes[section]})
            return (
                f"Unknown class {name!r} for {section}.{_nearest(name, names)} "
                f"Choose one of: {', '.join(names)}."
            )
        wrong_choice = WRONG_CHOICE.search(message)
        if wrong_choice:
            key, value = wrong_choice["key"].rpartition(".")[2], wrong_choice["value"]
            literals = " ".join(re.findall(r"Literal\[([^\]]*)\]", message))
            choices = list(dict.fromkeys(re.findall(r"[\w.-]+", literals)))
            others = "; --help tells its other forms" if "Union" in message else ""
            return (
                f"Unknown {key} {value!r}.{_nearest(value, choices)} "
                f"Choose one of: {', '.join(choices)}{others}."
            )
        unknown_key = UNKNOWN_KEY.search(message)
        if unknown_key:
            key = next(group for group in unknown_key.groups() if group)
            return f"{shorten(message).rstrip('.')}.{_nearest_key(key, set(self.option_names()))}"
        missing = MISSING.search(message)
        if missing and "required" in message:
            leaf = missing["key"].rpartition(".")[2]
            options = sorted(o for o in set(self.option_names()) if o.rpartition(".")[2] == leaf)
            return f"{shorten(message).rstrip('.')}. Set {' or '.join(f'--{o}' for o in options)}."
        return shorten(message)

    def option_names(self) -> Iterable[str]:
        """Yield the dotted name of each option, also of the classes that can be named here."""
        for action in self._actions:
            yield action.dest
        for section, classes in self.known_classes.items():
            for cls in classes:
                yield from (f"{section}.{name}" for name in inspect.signature(cls).parameters)


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _nearest_key(key: str, options: set[str]) -> str:
    """Return " Did you mean ...?", by the last part of the name first.

    So ``--strategy`` is ``trainer.strategy``.
    """
    leaves: dict[str, list[str]] = {}
    nested = {option.rpartition(".")[2] for option in options if "." in option}
    for option in sorted(options - nested):
        leaves.setdefault(option.rpartition(".")[2], []).append(option)
    leaf = difflib.get_close_matches(key.rpartition(".")[2], leaves, n=1)
    sections = sorted({option.partition(".")[0] for option in options})
    near = (
        leaves[leaf[0]] if leaf else difflib.get_close_matches(key.partition(".")[0], sections, n=1)
    )
    return f" Did you mean {' or '.join(near)}?" if near else ""


def shorten(message: str, limit: int = 600) -> str:
    """Cut a message that repeats the whole configuration."""
    message = re.sub(r"\n?Got value: .*", "", message, flags=re.DOTALL)
    message = " ".join(message.split())
    return message if len(message) <= limit else message[:limit] + " ..."
