"""Errors of the argument parser, with the nearest option, class or choice behind them."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.cli.help_page import usual_word

# What jsonargparse says of a key that does not exist, of a class that does not, and of what is
# missing.
UNKNOWN_KEY = re.compile(
    r"""[Uu]nrecognized arguments: (?:--)?(?P<flag>[\w.-]+)"""
    r"""|[Oo]ption '(?P<option>[\w.]+)' is not accepted"""
    r"""|does not accept option '(?P<subcommand>[\w.]+)'"""
    r"""|Key ['"](?P<key>[\w.]+)['"] is not expected|No action for key "(?P<action>[\w.]+)\""""
)
UNKNOWN_CLASS = re.compile(
    r"""Parser key "(?P<section>[\w.]+)".*?dot import path string: (?P<name>\w+)""", re.DOTALL
)
WRONG_CLASS = re.compile(
    r"""Parser key "data".*?Expected a path but (?P<name>[\w.]+) .*"""
    r"""does not correspond to a subclass of ImageDataModule""",
    re.DOTALL,
)
WRONG_CHOICE = re.compile(
    r"""Parser key "(?P<key>[\w.]+)".*typing\.Literal\[.*"""
    r"""(?:Got|Given) value: (?P<value>[\w-]+)$""",
    re.DOTALL,
)
WRONG_TYPE = re.compile(
    r"""Parser key "(?P<key>[\w.]+)"(?P<element> element \d+)?:"""
    r""".*?Expected a <class '(?P<type>int|float|bool)'>.*?"""
    r"""(?:Got|Given) value: (?P<value>[^\n]*)$""",
    re.DOTALL,
)
NO_FILE = re.compile(
    r"""Parser key "config": (?:File does not exist|Path is not a file): '(?P<path>[^']*)'"""
)
MISSING = re.compile(r"""(?:arguments are required: |Key ['"])(?P<key>[\w.]+)""")
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
NEEDS = (
    "{name} is no ImageDataModule: the images reach the feature cache, `doctor` and `report` "
    "through it. Write `class {short}(tltool.ImageDataModule)` with two methods: "
    "`find_classes(self) -> list[str]` and `find_records(self) -> list[ImageRecord]`; where "
    "images do not lie in files, `decoder` too. tltool/data/README.md has an example. "
    "From Python, a Trainer of your own trains an ImageTask on any LightningDataModule with "
    "batches (images, labels)."
)


@dataclass(frozen=True)
class ErrorExplainer:
    """Explain the errors of jsonargparse.

    Args:
        options: The dotted names of all options.
        classes: The classes that sections accept by short name, by the section's key.

    Example:
        >>> explainer = ErrorExplainer(["trainer.strategy"], {})
        >>> explainer.explain("Unrecognized arguments: --stratgy")
        'Unrecognized arguments: --stratgy. Did you mean trainer.strategy?'
    """

    options: Collection[str]
    classes: Mapping[str, Sequence[type[Any]]]

    def explain(self, message: str) -> str:
        """Return an error message of jsonargparse with the nearest key or class behind it."""
        for pattern, explanation in (
            (UNKNOWN_CLASS, self._unknown_class),
            (WRONG_CLASS, _wrong_class),
            (WRONG_CHOICE, _wrong_choice),
            (NO_FILE, _no_file),
            (WRONG_TYPE, self._wrong_type),
            (UNKNOWN_KEY, self._unknown_key),
            (MISSING, self._missing),
        ):
            found = pattern.search(message)
            explained = explanation(found) if found else None
            if explained is not None:
                return explained
        return shorten(message)

    def _unknown_class(self, found: re.Match[str]) -> str | None:
        section, name = found["section"], found["name"]
        if section not in self.classes:
            return None
        names = sorted({cls.__name__ for cls in self.classes[section]})
        return (
            f"Unknown class {name!r} for {section}.{nearest(name, names)} "
            f"Choose one of: {', '.join(names)}."
        )

    def _unknown_key(self, found: re.Match[str]) -> str:
        key = next(group for group in found.groups() if group)
        near = _nearest_key(key.replace("-", "_"), set(self.options))
        return f"{shorten(found.string).rstrip('.')}.{near}"

    def _wrong_type(self, found: re.Match[str]) -> str | None:
        key, kind = found["key"], _KINDS[found["type"]]
        if "Literal" in found.string:  # Words are choices too.
            return None
        leaf = key.rpartition(".")[2]
        options = sorted(o for o in set(self.options) if o == key or o.rpartition(".")[2] == leaf)
        name = f"--{options[0]}" if len(options) == 1 else f"`{key}`"
        if found["element"]:
            name, kind = f"Each value of {name}", f"{kind}, with a space between them"
        return f"{name} is {kind}, and not {found['value']!r}."

    def _missing(self, found: re.Match[str]) -> str | None:
        if "required" not in found.string:
            return None
        leaf = found["key"].rpartition(".")[2]
        options = sorted(o for o in set(self.options) if o.rpartition(".")[2] == leaf)
        flags = " or ".join(f"--{option}" for option in options)
        flags = flags or f"it behind the class that needs it, such as --trainer.logger.{leaf}"
        return f"{shorten(found.string).rstrip('.')}. Set {flags}."


def _wrong_class(found: re.Match[str]) -> str:
    return NEEDS.format(name=found["name"], short=found["name"].rpartition(".")[2])


def _no_file(found: re.Match[str]) -> str:
    path = Path(found["path"])
    if path.is_dir():
        inside = path / "config.yaml"  # Of a run.
        instead = f" Take the file in it: --config {inside}" if inside.is_file() else ""
        return f"--config takes a YAML file, and '{path}' is a folder.{instead}"
    there = sorted(each.name for each in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    return f"There is no file '{path}', which --config names.{nearest(path.name, there)}"


def _wrong_choice(found: re.Match[str]) -> str:
    message = found.string
    key, value = found["key"].rpartition(".")[2], found["value"]
    literals = " ".join(re.findall(r"Literal\[([^\]]*)\]", message))
    choices = list(dict.fromkeys(re.findall(r"[\w.-]+", literals)))
    others = "; --help tells its other forms" if "Union" in message else ""
    return (
        f"Unknown {key} {value!r}.{nearest(value, choices)} "
        f"Choose one of: {', '.join(choices)}{others}."
    )


def nearest(name: str, names: Sequence[str]) -> str:
    """Return " Did you mean ...?", or nothing where no name is near."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _nearest_key(key: str, options: set[str]) -> str:
    """Return " Did you mean ...?", by the last part of the name first.

    So ``--strategy`` is ``trainer.strategy``.
    """
    usual = usual_word(key)
    if usual is not None:
        return f" Did you mean {usual}?"
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
