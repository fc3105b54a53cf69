"""The argument parser of all commands: short errors that name the nearest option."""

import argparse
import difflib
import inspect
import re
import sys
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

import tltool
from tltool._plain_text import plain_lines
from tltool.cli.help_page import page_options, usual_word
from tltool.cli.short_forms import write_out_config

Classes = Mapping[str, tuple[type[Any], ...]]
"""The classes that a section accepts by short name, by the section's key."""

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
MISSING = re.compile(r"""(?:arguments are required: |Key ['"])(?P<key>[\w.]+)""")
NEEDS = (
    "{name} is no ImageDataModule: the images reach the feature cache, `doctor` and `report` "
    "through it. Write `class {short}(tltool.ImageDataModule)` with two methods: "
    "`find_classes(self) -> list[str]` and `find_records(self) -> list[ImageRecord]`; where "
    "images do not lie in files, `decoder` too. tltool/data/README.md has an example."
)

# What jsonargparse warns of, and writes in front of the text of a value that it cannot write down.
_UNABLE = "Unable to serialize instance "
_CLASS_PATH = re.compile(r"\b(?:tltool|lightning|torch|timm)\.(?:[a-z_]\w*\.)+(?=[A-Z])")
_command: ContextVar["Parser | None"] = ContextVar("command", default=None)


class Parser(LightningArgumentParser):
    """Lightning's parser whose help and errors fit on the screen and name the nearest option.

    Args:
        known_classes: The classes that sections accept by short name.
        **kwargs: Of the parser that it extends.
    """

    def __init__(self, *args: Any, known_classes: Classes | None = None, **kwargs: Any) -> None:
        self.known_classes: Classes = known_classes or {}
        self.given = "images"  # What stands in front of the options, in the help.
        self._directory = Path.cwd()  # While a file is parsed, the process is in the file's.
        header = [f"tltool=={tltool.__version__}"]
        super().__init__(*args, **{"dump_header": header, **kwargs})

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]  # all
        """Parse a command line."""
        token = _command.set(self)
        try:
            config: Namespace = super().parse_args(*args, **kwargs)
            return config
        finally:
            _command.reset(token)

    def parse_path(self, cfg_path: Any, *args: Any, **kwargs: Any) -> Namespace:
        """Parse a file; one that holds no text is refused by name."""
        try:
            parsed: Namespace = super().parse_path(cfg_path, *args, **kwargs)
            return parsed
        except UnicodeDecodeError:
            self.error(
                f"'{cfg_path}' is no YAML file. Name one, such as the config.yaml of a run, and a "
                "checkpoint by --ckpt_path"
            )

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        """Parse a configuration, with short forms written out."""
        try:
            given = yaml.safe_load(content)
        except yaml.YAMLError:
            given = None  # The parser says where.
        config = write_out_config(given, self._directory)
        if config is not given:
            content = yaml.safe_dump(config, sort_keys=False)
        parsed: Namespace = super().parse_string(content, *args, **kwargs)
        return parsed

    def dump(self, cfg: Namespace, *args: Any, **kwargs: Any) -> str:
        """Write a configuration down as YAML that can be read again.

        The signatures of callbacks and strategies hold values that YAML does not know, such as
        devices: they are written as the text that stands for them.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=rf"\s*{_UNABLE}")
            text: str = super().dump(_without_enums(cfg), *args, **kwargs)
        return text.replace(_UNABLE, "")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what is wrong and what to type instead, then exit with status 2."""
        # jsonargparse makes a parser of its own for each class; that of the command knows more.
        command = _command.get() or self
        sys.stderr.write(f"error: {plain_lines(command.explain(message))}\n")
        sys.stderr.write(
            "See --help for the options, or --print_config for all keys with their defaults.\n"
        )
        sys.exit(2)

    def explain(self, message: str) -> str:
        """Return an error message of jsonargparse with the nearest key or class behind it."""
        for pattern, explanation in (
            (UNKNOWN_CLASS, self._unknown_class),
            (WRONG_CLASS, _wrong_class),
            (WRONG_CHOICE, _wrong_choice),
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
        if section not in self.known_classes:
            return None
        names = sorted({cls.__name__ for cls in self.known_classes[section]})
        return (
            f"Unknown class {name!r} for {section}.{_nearest(name, names)} "
            f"Choose one of: {', '.join(names)}."
        )

    def _unknown_key(self, found: re.Match[str]) -> str:
        key = next(group for group in found.groups() if group)
        near = _nearest_key(key.replace("-", "_"), set(self.option_names()))
        return f"{shorten(found.string).rstrip('.')}.{near}"

    def _missing(self, found: re.Match[str]) -> str | None:
        if "required" not in found.string:
            return None
        leaf = found["key"].rpartition(".")[2]
        options = sorted(o for o in set(self.option_names()) if o.rpartition(".")[2] == leaf)
        flags = " or ".join(f"--{option}" for option in options)
        flags = flags or f"it behind the class that needs it, such as --trainer.logger.{leaf}"
        return f"{shorten(found.string).rstrip('.')}. Set {flags}."

    def exit_with_asked_help(self, words: Sequence[str]) -> None:
        """Print the help that a command line asks for, if it asks for one, and exit.

        Args:
            words: ``--help`` for the options of this command alone, ``--help_all`` for all, or
                ``--help_section`` and a section's name.
        """
        if "--help_all" in words:
            text = self.format_help()
        elif "--help_section" in words:
            text = self._section_help(words[words.index("--help_section") + 1])
        elif "-h" in words or "--help" in words:
            text = self._own_help()
        else:
            return
        print(text)
        sys.exit(0)

    def format_help(self, *args: Any) -> str:
        """Return the help, with classes by short name."""
        return _CLASS_PATH.sub("", super().format_help(*args))

    def _own_help(self) -> str:
        """Return the help of the options that ``fit`` has not."""
        is_run = any(action.dest == "model.head" for action in self._actions)
        page = page_options() if is_run else ("data", "trainer")
        usual = {"help", *(key.partition(".")[0] for key in page)}
        own = [action for action in self._actions if action.dest.partition(".")[0] not in usual]
        others = "The options of fit" if is_run else "The sections data and trainer of fit"
        hint = f"{others} too, see tltool fit --help; --help_all for everything"
        return f"{self._help_of(own)}\n\n{hint}"

    def _section_help(self, section: str) -> str:
        default = self.get_defaults().get(section)
        if isinstance(default, Namespace) and "class_path" in default:
            self.parse_args([f"--{section}.help={default.class_path}"])  # It ends here.
        actions = [a for a in self._actions if f"{a.dest}.".startswith(f"{section}.")]
        if not actions:
            sections = sorted({action.dest.partition(".")[0] for action in self._actions})
            self.error(f"There is no section {section!r}.{_nearest(section, sections)}")
        return self._help_of(actions)

    def _help_of(self, actions: Sequence[argparse.Action]) -> str:
        lines = [
            f"usage: {self.prog} {self.given} [options]\n",
            *textwrap.wrap(self.description or "", 80),
            "What stands behind an option is its default, or a word in capitals.\n",
        ]
        for action in actions:
            if action.option_strings and not action.dest.endswith(".help"):
                lines += self._help_lines(action)
        return "\n".join(lines)

    def _help_lines(self, action: argparse.Action) -> list[str]:
        """Return an option, what stands behind it, and its help, in 80 columns."""
        value, default = "", action.default
        if isinstance(default, Namespace | dict) and "class_path" in default:
            default = default["class_path"].rpartition(".")[2]
        if action.nargs != 0 and action.dest != "print_config":
            is_given = default not in (None, [], argparse.SUPPRESS)
            name = re.split(r"[._]", action.dest)[-1].upper()
            value = str(default) if is_given else name
        head, text = f"  --{action.dest} {value}", action.help or ""
        if action.dest in self.known_classes:
            text += f" {', '.join(cls.__name__ for cls in self.known_classes[action.dest])}."
        lines = textwrap.wrap(text, 46) or [""]
        if len(head) > 32:
            return [head, *(f"{'':33}{line}" for line in lines)]
        return [f"{head:<33}{lines[0]}", *(f"{'':33}{line}" for line in lines[1:])]

    def option_names(self) -> Iterable[str]:
        """Yield the dotted name of each option, also of the classes that can be named here."""
        for action in self._actions:
            yield action.dest
        for section, classes in self.known_classes.items():
            if section.startswith("trainer."):
                continue  # Too many, of which few are meant.
            for cls in classes:
                yield from (f"{section}.{name}" for name in inspect.signature(cls).parameters)


def _without_enums(value: Any) -> Any:
    """Return a configuration with the values of enumerations in their place."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Namespace):
        plain = {key: _without_enums(each) for key, each in vars(value).items()}
        return Namespace(plain)  # type: ignore[no-untyped-call]  # jsonargparse's
    if isinstance(value, list):
        return [_without_enums(each) for each in value]
    return value


def _wrong_class(found: re.Match[str]) -> str:
    return NEEDS.format(name=found["name"], short=found["name"].rpartition(".")[2])


def _wrong_choice(found: re.Match[str]) -> str:
    message = found.string
    key, value = found["key"].rpartition(".")[2], found["value"]
    literals = " ".join(re.findall(r"Literal\[([^\]]*)\]", message))
    choices = list(dict.fromkeys(re.findall(r"[\w.-]+", literals)))
    others = "; --help tells its other forms" if "Union" in message else ""
    return (
        f"Unknown {key} {value!r}.{_nearest(value, choices)} "
        f"Choose one of: {', '.join(choices)}{others}."
    )


def _nearest(name: str, names: Sequence[str]) -> str:
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
