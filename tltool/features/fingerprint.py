"""Fingerprint of features: all that decides them apart from the image, as one name."""

import contextlib
import json
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import torch
from PIL import features as pillow_features
from torch import nn

import tltool
from tltool._own_code import is_own, own_code, plain_attributes
from tltool.features.file_hashes import hash_content
from tltool.models.weights_hash import hash_weights

# Ways to the same numbers, and where the weights came from, which are hashed themselves.
_SOURCE = ("weights", "weights_key", "allow_partial")
_WITHOUT_EFFECT = (*_SOURCE, "compile", "grad_checkpointing", "channels_last")

_PACKAGES = ("torch", "torchvision", "timm", "pillow", "pillow-heif")

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of functions in the text of a module


class Fingerprint(NamedTuple):
    """The name of a set of features and what is behind it.

    Attributes:
        name: 32 hexadecimal digits; any change of a fact gives another.
        facts: Plain data.
    """

    name: str
    facts: dict[str, Any]


def make_fingerprint(
    backbone: nn.Module, preprocessing: Mapping[str, Any], *, precision: str = "32-true"
) -> Fingerprint:
    """Return the fingerprint of a backbone's features.

    Weights and buffers count by their bytes, the architecture by its description, by the text of
    its modules and the numbers that they hold, so an edit in place is noticed too. Of modules of
    your own the code counts, and all plain attributes; functions that they call do not.

    Args:
        backbone: The network. On a GPU its features have another name than on the CPU.
        preprocessing: How a file becomes a tensor, as plain data.
        precision: Of the pass, as in Lightning's Trainer.

    Example:
        >>> from tltool.models.backbone import Backbone
        >>> backbone = Backbone("test_resnet", weights="random")
        >>> first = make_fingerprint(backbone, {"mean": [0.5]})
        >>> first == make_fingerprint(backbone, {"mean": (0.5,)})
        True
        >>> first == make_fingerprint(backbone, {"mean": [0.4]})
        False
    """
    passed = getattr(backbone, "passed", None) or dict(backbone.named_modules())
    description = getattr(backbone, "description", {}).get("init_args", {})
    facts = {
        "backbone": {
            "class": f"{type(backbone).__module__}.{type(backbone).__qualname__}",
            **{key: value for key, value in description.items() if key not in _WITHOUT_EFFECT},
        },
        "modules": hash_content(_ADDRESS.sub("", repr(backbone)).encode()).hex(),
        "attributes": _attributes(passed),
        "own_code": _own_code(passed),
        "weights": hash_weights(backbone),
        "preprocessing": dict(preprocessing),
        "precision": precision,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "device": next(backbone.parameters(), torch.empty(0)).device.type,
        "versions": _versions(),
    }
    text = json.dumps(facts, sort_keys=True, allow_nan=True)
    return Fingerprint(hash_content(text.encode()).hex(), json.loads(text))


def _own_code(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Return a hash of the code of each class of modules that is the user's own, by its name."""
    classes = {type(module) for module in modules.values()}
    found = {f"{cls.__module__}.{cls.__qualname__}": own_code(cls) for cls in classes}
    return {name: code for name, code in found.items() if code is not None}


def _attributes(modules: Mapping[str, nn.Module]) -> str:
    """Return a hash of the numbers that modules hold, and of all plain data of the user's own."""
    attributes = {
        name: plain_attributes(module) if name and is_own(type(module)) else _numbers(module)
        for name, module in modules.items()
    }
    # What they are is told by their classes; whether they train makes no difference here.
    for found in attributes.values():
        found.pop("training", None)
    return hash_content(json.dumps(attributes, sort_keys=True).encode()).hex()


def _numbers(module: nn.Module) -> dict[str, str]:
    return plain_attributes(module, (int, float))


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"tltool": tltool.__version__, **dict.fromkeys(_PACKAGES)}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    # Builds of one Pillow may decode JPEG by different libraries, to different pixels.
    return {**found, "jpeg": pillow_features.version("libjpeg_turbo")}
