"""A run's configuration as the YAML that a person would write."""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import yaml


def short_yaml(config: Mapping[str, Any], weights: str) -> str:
    """Return a configuration of ``fit`` without what is at the default of the classes' signatures.

    Args:
        config: The parsed configuration, as plain data.
        weights: Where the backbone's weights came from, with ``auto`` resolved.
    """
    backbone = _changed(config["model"]["backbone"], keep=("name",))["init_args"]
    head = _changed(config["model"]["head"], keep=("hidden_features",))
    data = _changed(config["data"], keep=("root", "batch_size"))
    is_folder = config["data"]["class_path"].endswith(".ImageFolderDataModule")
    chosen = {
        "seed_everything": config["seed_everything"],
        "model": {"backbone": backbone | {"weights": weights}, "head": head},
        "data": data["init_args"] if is_folder else data,
        "optimizer": _changed(config["optimizer"], keep=("lr", "weight_decay")),
        "finetuning": _changed(config["finetuning"]),
        "trainer": {"max_epochs": config["trainer"]["max_epochs"]},
    }
    return yaml.safe_dump(chosen, sort_keys=False, default_flow_style=None, width=110)


def _changed(config: Any, keep: Sequence[str] = ()) -> Any:
    """Shorten a class configuration to the class's name and the arguments worth writing down.

    Args:
        config: ``{"class_path": ..., "init_args": ...}``.
        keep: Arguments to keep at their default too.
    """
    module, _, name = config["class_path"].rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    init_args = {
        key: value
        for key, value in (config.get("init_args") or {}).items()
        if key in keep or (value is not None and not _equal(value, parameters[key].default))
    }
    return {"class_path": name, "init_args": init_args} if init_args else name


def _equal(value: Any, default: Any) -> bool:
    return value == default or (isinstance(default, tuple) and value == list(default))
