"""A run's configuration as the YAML that a person would write."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from lightning.pytorch import Trainer

from tltool.cli.sections import DEFAULTS, RunOptions
from tltool.models.class_paths import imported_or_none
from tltool.reporting.wandb.logger import wandb_logger
from tltool.training.callbacks.ending import Ending
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.health_monitor import HealthMonitor
from tltool.training.image_task import ImageTask

_HAVE_SHORT_NAMES = {"tltool", "torch", "timm"}


def short_yaml(config: Mapping[str, Any], weights: str) -> str:
    """Return a configuration of ``fit`` without what is at its default.

    Args:
        config: The parsed configuration, as plain data.
        weights: Where the backbone's weights came from, with ``auto`` resolved.
    """
    model = {key: value for key, value in config["model"].items() if key != "optimizer"}
    backbone = _changed(model.pop("backbone"), keep=("name", "weights"))
    if "weights" in backbone["init_args"]:
        backbone["init_args"]["weights"] = weights
    head = _without_class(_changed(model.pop("head")), "Head")
    data = _changed(config["data"], keep=("root", "batch_size"))
    saved = ("save_every_n_steps", "save_every", "grace_period")
    run = {key: config[key] for key in ("runs_dir", "name", "monitor", "calibrate", *saved)}
    usual = {key.removeprefix("trainer."): value for key, value in DEFAULTS.items()}
    chosen = {
        "seed_everything": config["seed_everything"],
        "model": {
            "backbone": _without_class(backbone, "Backbone"),
            **({"head": head} if head else {}),
            **changed_arguments(ImageTask, model),
        },
        "data": _without_class(data, "ImageFolderDataModule"),
        "optimizer": _changed(config["optimizer"], keep=("lr", "weight_decay")),
        "finetuning": _changed(config["finetuning"]),
        "features": changed_arguments(FeatureCaching, config["features"]),
        "health": changed_arguments(HealthMonitor, config["health"]),
        "ending": changed_arguments(Ending, config["ending"]),
        "trainer": {
            key: _changed_classes(value)
            for key, value in changed_arguments(Trainer, config["trainer"]).items()
            if key == "max_epochs" or value != usual.get(key)
        },
        "wandb": changed_arguments(wandb_logger, config["wandb"]),
        **changed_arguments(RunOptions, run),
    }
    chosen = {key: value for key, value in chosen.items() if value != {}}
    return yaml.safe_dump(chosen, sort_keys=False, default_flow_style=None, width=110)


def _changed(config: Any, keep: Sequence[str] = ()) -> Any:
    """Shorten a class configuration to the class's name and the arguments worth writing down.

    Args:
        config: ``{"class_path": ..., "init_args": ...}``.
        keep: Arguments to keep at their default too.
    """
    module, _, name = config["class_path"].rpartition(".")
    init_args = config.get("init_args") or {}
    cls = imported_or_none(config["class_path"])  # That of a checkpoint may be of a stranger.
    if isinstance(cls, type):
        init_args = changed_arguments(cls, init_args, keep)
    if module.partition(".")[0] not in _HAVE_SHORT_NAMES:
        name = config["class_path"]
    return {"class_path": name, "init_args": init_args} if init_args else name


def _changed_classes(value: Any) -> Any:
    """Shorten the classes in a value of the Trainer, such as its callbacks."""
    if isinstance(value, list):
        return [_changed_classes(each) for each in value]
    is_class = isinstance(value, Mapping) and "class_path" in value
    return _changed(value) if is_class else value


def _without_class(section: Any, usual: str) -> Any:
    """Leave out the class of a section of `_changed` where it is the usual one."""
    if section == usual:
        return {}
    return section["init_args"] if section["class_path"] == usual else section


def changed_arguments(
    function: Callable[..., Any], arguments: Mapping[str, Any], keep: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the arguments that are not at the default of a signature, and those to keep."""
    parameters = inspect.signature(function).parameters
    return {
        key: value
        for key, value in arguments.items()
        if key in keep or key not in parameters or not _equal(value, parameters[key].default)
    }


def _equal(value: Any, default: Any) -> bool:
    return value == default or (isinstance(default, tuple) and value == list(default))
