"""Models in folders as timm and its hub keep them: ``config.json`` beside the weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from timm.models import PretrainedCfg

from tltool.models.serialization import is_rebuilding
from tltool.models.timm_options import BACKBONE_OPTIONS
from tltool.models.weights import hub_repository
from tltool.models.weights.hub_repository import HUB
from tltool.models.weights.safetensors_file import PREPROCESSING

LOCAL = "local-dir:"
_CONFIG = "config.json"


@dataclass(frozen=True)
class ModelOrigin:
    """Which model a backbone is, and what its weights expect.

    Attributes:
        name: A timm model.
        weights: The source of its weights, ``auto`` where none was named.
        model_args: Further arguments of the model.
        img_size: Height and width that it was built for, if these are not the model's own.
        preprocessing: What ``config.json`` says about it; ``None`` without one.
    """

    name: str
    weights: str
    model_args: dict[str, Any] = field(default_factory=dict)
    img_size: list[int] | None = None
    preprocessing: dict[str, Any] | None = None

    @property
    def input_size(self) -> list[int] | None:
        """Channels, height and width that the weights were trained with, where a folder says it."""
        if self.preprocessing is None:
            return None
        channels, *size = self.preprocessing["input_size"]
        return [channels, *(self.img_size or size)]


def is_model_folder(source: str) -> bool:
    """Tell whether a name or a source of weights means a folder with ``config.json``.

    Example:
        >>> is_model_folder("hf-hub:timm/resnet18.a1_in1k"), is_model_folder("resnet18")
        (True, False)
    """
    return source.startswith((LOCAL, HUB))


def find_origin(name: str, weights: str) -> ModelOrigin:
    """Return the model that a name and a source of weights mean.

    Of a folder, or a repository of the hub, ``config.json`` says the model, its arguments and its
    preprocessing. A folder that is named as weights has to be of the model.

    Args:
        name: A timm model, ``local-dir:FOLDER`` or ``hf-hub:ORGANIZATION/NAME``.
        weights: See `Backbone`. ``auto`` takes those of the folder.

    Raises:
        FileNotFoundError: If there is no such folder, or no ``config.json`` in it.
        ValueError: If that is damaged, of another tool, or of another model; or if a checkpoint
            that is loaded names one as its model.
        ConnectionError: If it must be downloaded and the hub is out of reach.

    Example:
        >>> find_origin("resnet18", "auto")
        ModelOrigin(name='resnet18', weights='auto', model_args={}, ...)
    """
    origin = ModelOrigin(name, weights)
    if is_model_folder(name):
        if is_rebuilding():
            raise ValueError(
                f"The checkpoint names {name!r} as its model. One of tltool keeps the name of the "
                "model itself, so that nothing is downloaded when it is loaded: this one was "
                "changed. Take it from whoever trained it."
            )
        named = _read_origin(name)
        if weights in ("auto", name):
            return named
        origin = replace(named, weights=weights, preprocessing=None)
    source = _as_model_folder(weights)
    if not is_model_folder(source):
        return origin
    found = _read_origin(source)
    if found.name != origin.name.partition(".")[0]:
        raise ValueError(
            f"The weights {weights!r} are those of {found.name}, not of {origin.name}. Set "
            f"--model.backbone.name {source}."
        )
    return replace(found, name=origin.name, model_args=origin.model_args | found.model_args)


def weights_path(source: str) -> Path:
    """Return the folder, or the file in the cache of the hub, with the weights of a model.

    Raises:
        ValueError: If the repository of the hub has no weights that tltool reads.
        ConnectionError: If they must be downloaded and the hub is out of reach.
    """
    if source.startswith(LOCAL):
        return Path(source.removeprefix(LOCAL)).expanduser()
    return hub_repository.find_weights(source)


def _as_model_folder(weights: str) -> str:
    """Return the plain path of a folder that timm wrote as a source; anything else as it is."""
    config = Path(weights).expanduser() / _CONFIG
    if is_model_folder(weights) or not config.is_file():
        return weights
    of_timm = '"architecture"' in config.read_text(encoding="utf-8", errors="replace")
    return f"{LOCAL}{weights}" if of_timm else weights


def _read_origin(source: str) -> ModelOrigin:
    """Return what a folder or a repository says about its model."""
    content = _read_config(_config_path(source), source)
    stored = content.get("pretrained_cfg", content)  # Older ones hold both in one.
    args = content.get("model_args") or {}
    if not isinstance(stored, Mapping) or not isinstance(args, Mapping):
        raise ValueError(f"The {_CONFIG} of {source!r} is damaged. Copy or download it again.")
    known = {each.name for each in fields(PretrainedCfg)} & stored.keys()
    config = PretrainedCfg(**{key: stored[key] for key in known if stored[key] is not None})
    preprocessing = {key: getattr(config, key) for key in PREPROCESSING}
    channels, *size = preprocessing["input_size"]
    preprocessing["input_size"] = [args.get("in_chans", channels), *size]
    built_for = args.get("img_size") or (size if config.fixed_input_size else None)
    if isinstance(built_for, int):
        built_for = [built_for, built_for]
    further = {key: value for key, value in args.items() if key not in BACKBONE_OPTIONS}
    return ModelOrigin(content["architecture"], source, further, built_for, preprocessing)


def _config_path(source: str) -> Path:
    if source.startswith(HUB):
        return hub_repository.find_file(source, _CONFIG)
    path = Path(source.removeprefix(LOCAL)).expanduser() / _CONFIG
    if not path.is_file():
        what = "no folder" if not path.parent.is_dir() else f"a folder without {_CONFIG}"
        raise FileNotFoundError(
            f"{source!r} names {what}. A folder of timm holds its weights and {_CONFIG}; for "
            "weights alone, set `weights` to the file and `name` to the model."
        )
    return path


def _read_config(path: Path, source: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"The {_CONFIG} of {source!r} cannot be read ({error}). Copy or download it again."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("architecture"), str):
        raise ValueError(
            f"The {_CONFIG} of {source!r} names no `architecture` of timm: another tool wrote it. "
            "Set `name` to the model of timm that fits, and `weights` to the file with its weights."
        )
    return content
