"""The argument parser of all commands: short errors that name the nearest option."""

import inspect
import logging
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace
from jsonargparse.typing import Path_fr
from lightning.pytorch.cli import LightningArgumentParser

import tltool
from tltool._plain_text import plain_lines
from tltool.cli.parser_errors import ErrorExplainer
from tltool.cli.parser_help import asked_help
from tltool.cli.short_forms import write_out_config

log = logging.getLogger(__name__)

Classes = Mapping[str, tuple[type[Any], ...]]
"""The classes that a section accepts by short name, by the section's key."""

# What jsonargparse warns of, and writes in front of the text of a value that it cannot write down.
_UNABLE = "Unable to serialize instance "
_CLASS_PATH = re.compile(r"\b(?:tltool|lightning|torch|timm)\.(?:[a-z_]\w*\.)+(?=[A-Z])")
_command: ContextVar["Parser | None"] = ContextVar("command", default=None)


class WrongUsage(SystemExit):
    """Ends a process whose command line or configuration is wrong, with the exit code 2.

    Args:
        message: What is wrong, and what to write instead.
    """

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class Parser(LightningArgumentParser):
    """Lightning's parser whose help and errors fit on the screen and name the nearest option.

    Args:
        known_classes: The classes that sections accept by short name.
        **kwargs: Of the parser that it extends.
    """

    def __init__(self, *args: Any, known_classes: Classes | None = None, **kwargs: Any) -> None:
        self.known_classes: Classes = known_classes or {}
        self.given = "images"  # What stands in front of the options, in the help.
        self._is_trial = False
        self._optimizer: str | None = None  # The class that the trial has found.
        self._pipes: dict[str, bytes] = {}  # What was read from each: it is empty then.
        self._directory = Path.cwd()  # While a file is parsed, the process is in the file's.
        header = [f"tltool=={tltool.__version__}"]
        super().__init__(*args, **{"dump_header": header, **kwargs})

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]  # all
        """Parse a command line. Of an optimizer, ``lr`` alone is not at its class's default."""
        token = _command.set(self)
        try:
            self._set_defaults_of_optimizer(*args)
            config: Namespace = super().parse_args(*args, **kwargs)
            return config
        finally:
            _command.reset(token)

    def _set_defaults_of_optimizer(self, words: Sequence[str] = ()) -> None:
        """Let an optimizer of another class than the default one begin at that class's defaults.

        jsonargparse keeps what both classes know: SGD would decay weights as AdamW does.
        """
        usual = self._defaults.get("optimizer")
        if usual is None:
            return
        self._is_trial, self._optimizer = True, None
        try:
            tried = super().parse_args([w for w in words if not w.startswith("--print_config")])
        except WrongUsage:
            return  # The parse that counts says what is wrong.
        finally:
            self._is_trial = False
        chosen = tried.optimizer.class_path
        self._optimizer = chosen
        if chosen != usual["class_path"]:
            accepted = tried.optimizer.get("init_args", {})
            init_args = {k: v for k, v in usual["init_args"].items() if k == "lr" and k in accepted}
            self.set_defaults({"optimizer": {"class_path": chosen, "init_args": init_args}})

    def parse_path(self, cfg_path: Any, *args: Any, **kwargs: Any) -> Namespace:
        """Parse a file; one that holds no text is refused by name."""
        given = str(cfg_path)
        try:
            if Path(given).is_file():
                return super().parse_path(cfg_path, *args, **kwargs)  # type: ignore[no-any-return]
            if given not in self._pipes:
                self._pipes[given] = Path(Path_fr(given)).read_bytes()
            return self.parse_string(self._pipes[given].decode(), given, *args, **kwargs)
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
        if self._optimizer is not None:
            config = _with_lr_alone(config, self._optimizer)
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
        """Print what is wrong and what to type instead, then exit with status 2.

        Raises:
            WrongUsage: Always.
        """
        # jsonargparse makes a parser of its own for each class; that of the command knows more.
        command = _command.get() or self
        if command._is_trial:
            raise WrongUsage(message)
        explainer = ErrorExplainer(set(command.option_names()), command.known_classes)
        explained = explainer.explain(message)
        sys.stderr.write(f"error: {plain_lines(explained)}\n")
        sys.stderr.write(
            "See --help for the options, or --print_config for all keys with their defaults.\n"
        )
        raise WrongUsage(explained)

    def exit_with_asked_help(self, words: Sequence[str]) -> None:
        """Print the help that a command line asks for, if it asks for one, and exit.

        Args:
            words: See `asked_help`.
        """
        text = asked_help(self, words)
        if text is not None:
            print(text)
            sys.exit(0)

    def format_help(self, *args: Any) -> str:
        """Return the help, with classes by short name."""
        return _CLASS_PATH.sub("", super().format_help(*args))

    def option_names(self) -> Iterable[str]:
        """Yield the dotted name of each option, also of the classes that can be named here."""
        for action in self._actions:
            yield action.dest
        for section, classes in self.known_classes.items():
            if section.startswith("trainer."):
                continue  # Too many, of which few are meant.
            for cls in classes:
                yield from (f"{section}.{name}" for name in inspect.signature(cls).parameters)


def _with_lr_alone(config: Any, optimizer: str) -> Any:
    """Return a configuration file whose optimizer keeps only ``lr`` if another class is chosen."""
    section = config.get("optimizer") if isinstance(config, dict) else None
    if not isinstance(section, dict) or not isinstance(section.get("init_args"), dict):
        return config
    name, init_args = optimizer.rpartition(".")[2], section["init_args"]
    if _is_same_class(str(section.get("class_path", name)), optimizer):
        return config
    lost = {key: value for key, value in init_args.items() if key != "lr"}
    if lost:
        given = ", ".join(f"{key} {value}" for key, value in lost.items())
        log.warning(
            "%s is not the optimizer of the configuration file, so the file's %s is not used.",
            name,
            given,
        )
    kept = {key: value for key, value in init_args.items() if key == "lr"}
    return {**config, "optimizer": {"class_path": optimizer, "init_args": kept}}


def _is_same_class(path: str, other: str) -> bool:
    """Tell whether two paths name one class, which modules of one package may export too.

    Example:
        >>> _is_same_class("SGD", "torch.optim.SGD")
        True
        >>> _is_same_class("torch.optim.Adafactor", "timm.optim.Adafactor")
        False
    """
    name, other_name = (each.rpartition(".")[2] for each in (path, other))
    package, other_package = (each.partition(".")[0] for each in (path, other))
    return name == other_name and (path == name or package == other_package)


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
