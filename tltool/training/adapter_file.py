"""A small file of what training has changed, such as adapters, beside pretrained weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tltool.models.backbone import Backbone
from tltool.models.serialization import rebuild
from tltool.models.weights.loading import resolve_auto
from tltool.models.weights.safetensors_file import read_description, save_weights
from tltool.models.weights.state_dict_files import check_checksum
from tltool.models.weights_hash import hash_tensors, hash_weights

# Edits that begin with random numbers, which the file holds.
_RANDOM = ("add_lora", "reinitialize")
# How to rebuild the task; a hash of the pretrained weights that are not in the file.
_TASK, _BASE = "task_config", "base_hash"


def write_adapters(
    path: Path,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    facts: Mapping[str, Any],
) -> None:
    """Write what the weights of a task have beyond the pretrained ones, see `save_adapters`.

    Args:
        path: The file.
        config: How to rebuild the task.
        state: All of its weights.
        facts: Plain data that its description holds, too.
    """
    own = _state_of(_pretrained(config))
    changed = {key: value for key, value in state.items() if not _is_same(value, own.get(key))}
    description = {_TASK: dict(config), _BASE: _hash_of_rest(own, changed)}
    save_weights(path, changed, {**facts, **description})


def is_adapter_file(path: Path) -> bool:
    """Tell whether a file is one of `write_adapters`."""
    return path.suffix.lower() == ".safetensors" and _BASE in read_description(path)


def read_adapters(
    path: Path, weights: str | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return how to rebuild a task, and its weights: the pretrained ones and what is in a file.

    Args:
        path: A file of `write_adapters`.
        weights: Where the pretrained weights are; ``None`` for where they were.

    Raises:
        ValueError: If the pretrained weights are not the same, or the file is damaged or not that
            of the checksum beside it.
        ConnectionError: If they must be downloaded and the hub is out of reach.
    """
    check_checksum(path)
    description = read_description(path)
    try:
        changed = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"'{path}' cannot be read: {error}. Write it anew.") from error
    base = _pretrained(description[_TASK], weights)
    own = _state_of(base)
    # Earlier files have a hash of all pretrained weights.
    if description[_BASE] not in (_hash_of_rest(own, changed), hash_weights(base)):
        raise ValueError(
            f"The adapters in '{path}' belong to other weights of {base.name} than "
            f"{base.weights!r}. Load them by `load_adapters`, with `weights` set to those that "
            "they were trained on."
        )
    return description[_TASK], {**own, **changed}


def _pretrained(config: Mapping[str, Any], weights: str | None = None) -> Backbone:
    """Return the backbone as it was before training, without edits that draw random numbers."""
    init_args = config["backbone"]["init_args"]
    source = weights or resolve_auto(init_args["weights"], init_args["name"])
    if source == "random":
        raise ValueError(
            "The training started from random weights, which are nowhere but in its checkpoint. "
            "Keep the checkpoint as it is."
        )
    surgery = [e for e in init_args["surgery"] if not any(name in e for name in _RANDOM)]
    backbone = rebuild(config["backbone"], weights=source, surgery=surgery)
    assert isinstance(backbone, Backbone)  # noqa: S101  # ImageTask takes nothing else
    return backbone


def _state_of(backbone: Backbone) -> dict[str, Tensor]:
    return {f"backbone.{key}": value for key, value in backbone.state_dict().items()}


def _hash_of_rest(base: Mapping[str, Tensor], changed: Mapping[str, Tensor]) -> str:
    """Return a hash of what a file takes from elsewhere, so not of layers drawn at each start."""
    return hash_tensors({key: value for key, value in base.items() if key not in changed})


def _is_same(value: Tensor, base: Tensor | None) -> bool:
    return base is not None and torch.equal(value, base)
