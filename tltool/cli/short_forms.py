"""Short forms on the command line and in YAML, and modules of the user's own in the working folder.

``images`` means ``data.root: images``, ``resnet50`` means ``model.backbone.name: resnet50``, and
two numbers behind ``--data.value_range`` or ``--model.backbone.img_size`` are a list.
"""

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_BACKBONE_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?|(local-dir|hf-hub):.+")
_PAIRS = {"--data.value_range", "--model.backbone.img_size"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_WORD = re.compile(r"[\w.]+")


def rewrite(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with short forms written out.

    Example:
        >>> rewrite(["images", "--model.backbone", "resnet50"])
        ['--data.root', 'images', '--model.backbone.name', 'resnet50']
        >>> rewrite(["--model.backbone=resnet50", "--help", "data"])
        ['--model.backbone.name=resnet50', '--help_section', 'data']
        >>> rewrite(["--data.value_range", "-1000", "400", "--data.seed", "1"])
        ['--data.value_range=[-1000, 400]', '--data.seed', '1']
        >>> rewrite(["--model.backbone.img_size", "160", "224"])
        ['--model.backbone.img_size=[160, 224]']
    """
    words = _as_lists(words)
    if words and not words[0].startswith("-"):
        words.insert(0, "--data.root")
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if not equals:
            value = words[place + 1] if place + 1 < len(words) else ""
        words[place] = f"{_written_out(flag, value)}{equals}{value if equals else ''}"
    reach_own_modules(_dotted_names(" ".join(words)), Path.cwd())
    return words


def _as_lists(words: Sequence[str]) -> list[str]:
    """Return words with two numbers behind a flag as one list, which the parser takes."""
    joined, rest = list[str](), list(words)
    while rest:
        word = rest.pop(0)
        if word in _PAIRS and len(rest) > 1 and all(map(_NUMBER.fullmatch, rest[:2])):
            word = f"{word}=[{rest.pop(0)}, {rest.pop(0)}]"
        joined.append(word)
    return joined


def _written_out(flag: str, value: str) -> str:
    if flag == "--data" and _is_directory(value, Path()):
        return "--data.root"
    if flag == "--model.backbone" and _is_backbone_name(value):
        return "--model.backbone.name"
    if flag in {"-h", "--help"} and value and not value.startswith("-"):
        return "--help_section"
    return flag


def write_out_config(config: Any, directory: Path) -> Any:
    """Return the content of a configuration file with short forms written out.

    Args:
        config: The content.
        directory: The working directory of the user.

    Example:
        >>> write_out_config({"model": {"backbone": "resnet50"}}, Path())
        {'model': {'backbone': {'name': 'resnet50'}}}
    """
    if not isinstance(config, dict):
        return config
    reach_own_modules(_dotted_names(json.dumps(config, default=str)), directory)
    data, model = config.get("data"), config.get("model")
    if isinstance(data, str) and _is_directory(data, directory):
        config = {**config, "data": {"root": data}}
    if isinstance(model, dict) and _is_backbone_name(model.get("backbone")):
        config = {**config, "model": {**model, "backbone": {"name": model["backbone"]}}}
    return config


def reach_own_modules(texts: Iterable[str], directory: Path) -> None:
    """Make modules in the working directory importable if a class of one of them is named.

    The directory comes last on the path, so that no file in it hides an installed package.

    Args:
        texts: Names, among them perhaps ``my_module.MyHead``.
        directory: The working directory.
    """
    for top in {text.partition(".")[0] for text in texts}:
        is_here = (directory / f"{top}.py").is_file() or (directory / top / "__init__.py").is_file()
        if is_here and importlib.util.find_spec(top) is None:
            sys.path.append(str(directory))


def _dotted_names(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if _DOTTED_NAME.fullmatch(word)]


def import_own_modules(*, modules: list[str] | None = None) -> None:
    """Import modules that the user named, from the working directory too.

    Args:
        modules: Your own modules whose classes the checkpoint needs, such as my_heads.

    Raises:
        ModuleNotFoundError: If there is no such module.
    """
    for name in modules or ():
        reach_own_modules([f"{name}.any"], Path.cwd())
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"There is no module {name!r}. Name one that lies in this directory or is "
                "installed, for example --modules my_heads for my_heads.py."
            ) from error


def _is_directory(value: str, directory: Path) -> bool:
    """Tell whether a value of ``data`` is a directory, which may be missing, and no class."""
    if not value or value.startswith("-") or value.endswith((".yaml", ".yml", ".json")):
        return False
    is_class = value.rpartition(".")[2][:1].isupper() or "{" in value
    return not is_class or (directory / value).is_dir()


def _is_backbone_name(value: Any) -> bool:
    is_name = isinstance(value, str) and _BACKBONE_NAME.fullmatch(value)
    return bool(is_name) and not Path(value).is_file()
