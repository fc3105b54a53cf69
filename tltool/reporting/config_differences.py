"""What differs between the configurations of runs, by the options that a user types."""

import os
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from tltool.models.class_paths import imported_or_none

PLACES = ("runs_dir", "run_dir", "name", "ckpt_path", "weights_only", "config")
"""Where a run lies and goes on from, and what `fit` sets itself: no choice of how to train."""
LOGS = (
    *("wandb", "trainer.logger", "trainer.default_root_dir", "trainer.log_every_n_steps"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary", "features.cache_dir"),
    *("save_every_n_steps", "save_every", "grace_period", "data.num_workers"),
)
"""What is shown and kept, and how fast it goes: it changes nothing that is learned."""
ABSENT = "\N{EN DASH}"
SEED = "seed_everything"
_OFF: tuple[object, ...] = (None, False, "", [], {})  # and 0, which equals False
_CLASS = re.compile(r"(?:\w+\.)+[A-Z]\w*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def config_differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the values of each option that is not the same in all configurations.

    Two values are the same if they mean the same, however they are written: 1 and 1.0, "1e-3" and
    0.001, a class by two of its import paths, a relative and an absolute path of one file. An
    option that one configuration lacks, such as of another class or version, is none where the
    other one has it turned off.

    Args:
        configs: The configurations of some runs.

    Returns:
        One value for each configuration, by dotted key as on the command line; a dash where it has
        none.

    Example:
        >>> head = {"class_path": "tltool.Head", "init_args": {"dropout": 0.0}}
        >>> other = {"class_path": "tltool.Head", "init_args": {"dropout": 0.5}}
        >>> config_differences([{"model": {"head": head}}, {"model": {"head": other}}])
        {'model.head.dropout': ['0.0', '0.5']}
        >>> config_differences([{"optimizer": {"lr": 1}}, {"optimizer": {"lr": "1.0"}}])
        {}
    """
    flat = [flatten(config) for config in configs]
    keys = dict.fromkeys(key for each in flat for key in each)
    values = {key: [each.get(key, ABSENT) for each in flat] for key in keys}
    return {key: list(map(_words, each)) for key, each in values.items() if not _is_one(each)}


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as values by dotted key, without what changes nothing.

    Example:
        >>> flatten({"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}})
        {'optimizer': 'torch.optim.SGD', 'optimizer.lr': 0.1}
    """
    left_out = (*PLACES, *LOGS)
    ends = tuple(f"{each}." for each in left_out)
    items = _items("", config)
    return {key: each for key, each in items if key not in left_out and not key.startswith(ends)}


def _items(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [(prefix, value)]
    if "class_path" in value:
        rest = {key: each for key, each in value.items() if key not in {"class_path", "init_args"}}
        found = [(prefix, str(value["class_path"]))]
        return found + _items(prefix, {**(value.get("init_args") or {}), **rest})
    dotted = f"{prefix}." if prefix else ""
    return [item for key, each in value.items() for item in _items(f"{dotted}{key}", each)]


def _is_one(values: Sequence[Any]) -> bool:
    """Return whether values of one option mean the same; `ABSENT` stands for none."""
    given = [value for value in values if value != ABSENT]
    if len(given) < len(values):
        return all(value in _OFF for value in given)
    return len({_meaning(value) for value in given}) == 1 or _are_one_file(given)


def _meaning(value: Any) -> Hashable:
    """Return what values have in common that mean the same, however they are written.

    Example:
        >>> _meaning([1, "2e-1"]) == _meaning([1.0, 0.2]), _meaning(True) == _meaning(1)
        (True, False)
        >>> _meaning("torch.optim.AdamW") == _meaning("torch.optim.adamw.AdamW")
        True
    """
    if isinstance(value, Mapping):
        return frozenset((str(key), _meaning(each)) for key, each in value.items())
    if isinstance(value, list):
        return tuple(_meaning(each) for each in value)
    if isinstance(value, bool) or value is None:
        return str(value)
    if _CLASS.fullmatch(str(value)):
        return _class_or_text(str(value))
    if _NUMBER.fullmatch(str(value)):
        return float(value)
    return str(value)


def _class_or_text(path: str) -> Hashable:
    """Return the class that a path names where its module is imported, else the path itself."""
    try:
        found = imported_or_none(path)
    except ImportError:  # Of another version.
        return path
    return found if isinstance(found, type) else path


def _are_one_file(values: Sequence[Any]) -> bool:
    first, *others = values
    paths = [value for value in values if isinstance(value, str) and os.path.exists(value)]
    return len(paths) == len(values) and all(os.path.samefile(first, each) for each in others)


def _words(value: Any) -> str:
    return "null" if value is None else str(value)
