"""What differs between the configurations of runs, by the options that a user types."""

from collections.abc import Mapping, Sequence
from typing import Any

PLACES = ("runs_dir", "name", "ckpt_path", "weights_only")
"""Where a run lies and goes on from, and what `fit` sets itself: no choice of how to train."""
ABSENT = "\N{EN DASH}"
SEED = "seed_everything"


def config_differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the values of each option that is not the same in all configurations.

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
    """
    flat = [flatten(config) for config in configs]
    keys = dict.fromkeys(key for each in flat for key in each)
    values = {key: [each.get(key, ABSENT) for each in flat] for key in keys}
    return {key: each for key, each in values.items() if len(set(each)) > 1}


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a configuration as values in words by dotted key, without places.

    Example:
        >>> flatten({"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}})
        {'optimizer': 'torch.optim.SGD', 'optimizer.lr': '0.1'}
    """
    chosen = {key: value for key, value in config.items() if key not in PLACES}
    return dict(_items("", chosen))


def _items(prefix: str, value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, Mapping):
        return [(prefix, "null" if value is None else str(value))]
    if "class_path" in value:
        rest = {key: each for key, each in value.items() if key not in {"class_path", "init_args"}}
        found = [(prefix, str(value["class_path"]))]
        return found + _items(prefix, {**(value.get("init_args") or {}), **rest})
    dotted = f"{prefix}." if prefix else ""
    return [item for key, each in value.items() for item in _items(f"{dotted}{key}", each)]
