"""The argument parser of all commands: short errors that name the nearest option."""

import difflib
import inspect
import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

# What jsonargparse says of a key, a flag or an argument that does not exist.
UNKNOWN = re.compile(
    r"[Uu]nrecognized arguments: (?:--)?([\w.]+)|Option '([\w.]+)' is not accepted|Key '([\w.]+)' is not expected"
    r"|No action for key \"([\w.]+)\"|Key \"([\w.]+)\" is not expected"
)


class Parser(LightningArgumentParser):
    """LightningCLI's parser whose errors fit on the screen."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what is wrong and the nearest option, then exit with status 2."""
        command = self.prog.split()[-1]
        sys.stderr.write(f"error: {shorten(message)}{self.hint(message)}\n")
        sys.stderr.write(f"See tltool {command} --help, or tltool {command} --print_config for all keys.\n")
        sys.exit(2)

    def hint(self, message: str) -> str:
        """Return " Did you mean ...?" for an unknown key, or nothing."""
        found = UNKNOWN.search(message)
        if not found:
            return ""
        key = next(group for group in found.groups() if group)
        options = set(self.option_names())
        nested = sorted(option for option in options if option.rpartition(".")[2] == key.rpartition(".")[2])
        near = nested or difflib.get_close_matches(key, sorted(options), n=1, cutoff=0.6)
        near = near or _same_leaf(key, options)
        return f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""

    def option_names(self) -> Iterable[str]:
        """Yield the dotted name of each option, also of the classes that can be named here."""
        for action in self._actions:
            yield action.dest
        for section, classes in self.known_classes.items():
            for cls in classes:
                yield from (f"{section}.{name}" for name in inspect.signature(cls).parameters)

    #: Classes that a section accepts, for hints: section -> classes.
    known_classes: dict[str, tuple[type[Any], ...]] = {}  # noqa: RUF012  # set once by the command line


def _same_leaf(key: str, options: set[str]) -> list[str]:
    leaves = {option.rpartition(".")[2]: option for option in sorted(options, reverse=True)}
    near = difflib.get_close_matches(key.rpartition(".")[2], leaves, n=1, cutoff=0.6)
    return [leaves[leaf] for leaf in near]


def shorten(message: str, limit: int = 600) -> str:
    """Cut a message that repeats the whole configuration."""
    message = re.sub(r"\n?Got value: .*", "", message, flags=re.DOTALL)
    message = " ".join(message.split())
    return message if len(message) <= limit else message[:limit] + " ..."
