"""What a checkpoint knows of the split of its run, and what a file of its weights keeps of that."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tltool.training.resume_facts import trained_on

SPLIT = "split"  # The key under which a checkpoint without a configuration has the options.
SPLIT_OPTIONS = ("seed", "val_fraction", "test_fraction", "tuning_fraction")
"""The options of the data by which images are split."""

_HASHES = "image_hashes"


def split_options(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options by which the images of a checkpoint's run were split; empty if unknown.

    Example:
        >>> split_options({"config": {"data": {"init_args": {"root": "images", "seed": 3}}}})
        {'seed': 3}
    """
    data = (checkpoint.get("config") or {}).get("data", {})
    given = checkpoint.get(SPLIT) or data.get("init_args", {})
    return {name: given[name] for name in SPLIT_OPTIONS if given.get(name) is not None}


def split_facts(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain data for the description of a file, from which `described_split` reads.

    Its training images are all that `trained_on` names. An image takes 11 bytes.
    """
    images: dict[str, Tensor] = dict(checkpoint.get("run_facts", {}).get("images", {}))
    if "train" in images:
        images["train"] = trained_on(checkpoint)
    hashes = {name: _to_text(found) for name, found in images.items()}
    return {SPLIT: split_options(checkpoint), _HASHES: hashes}


def described_split(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the description of a file says of the split, as a checkpoint has it.

    Example:
        >>> images = {"train": torch.tensor([1, -2])}
        >>> facts = split_facts({"split": {"seed": 3}, "run_facts": {"images": images}})
        >>> described_split(facts)
        {'split': {'seed': 3}, 'run_facts': {'images': {'train': tensor([ 1, -2])}}}
        >>> described_split({})
        {}
    """
    images = {name: _of_text(text) for name, text in description.get(_HASHES, {}).items()}
    split = {SPLIT: description[SPLIT]} if description.get(SPLIT) else {}
    return split | ({"run_facts": {"images": images}} if images else {})


def _to_text(hashes: Tensor) -> str:
    return base64.b64encode(hashes.numpy().astype("<i8").tobytes()).decode()


def _of_text(text: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<i8").astype(np.int64))
