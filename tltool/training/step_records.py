"""Records of training steps, bit for bit: the weights in front, what a step read, and its loss."""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tltool.training.distributed.rank_agreement import weight_checksum

_DIGITS = 8  # hexadecimal ones, for each image and each tensor
_SHOWN = 3
_PLACES = {"ckpt_path", "config", "run_dir", "runs_dir", "name", "wandb"}  # They train nothing.
_INPUTS = ("images", "features", "activations")


@dataclass(frozen=True)
class StepRecord:
    """One training step, as a checkpoint keeps it.

    Args:
        epoch: Its epoch, from 0.
        step: Optimizer steps in front of it.
        batch: Its number in the epoch, from 0.
        config: Of the configuration, see `config_digest`.
        weights: Of each tensor that trains, in front of the step, see `weight_digests`.
        inputs: Of each image with its label, one digest behind the other, see `input_digests`.
        loss: As a hexadecimal number, which is exact.
    """

    epoch: int
    step: int
    batch: int
    config: str
    weights: str
    inputs: str
    loss: str = ""

    @property
    def plain(self) -> dict[str, Any]:
        """The record as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class NamedStep:
    """A step that is there to be named: its record, its images, and the tensors that it trained."""

    record: StepRecord
    images: Sequence[str]
    tensors: Sequence[str]


def has_inputs(batch: Mapping[str, Any]) -> bool:
    """Tell whether a batch has images, or what stands for them, with labels: see `input_digests`.

    Example:
        >>> has_inputs({"images": [], "paths": []})
        False
    """
    return len(batch.get("labels", ())) > 0 and any(name in batch for name in _INPUTS)


def input_digests(batch: Mapping[str, Any]) -> list[str]:
    """Return a digest of each image, or of its features, with its label.

    Example:
        >>> import torch
        >>> batch = {"images": torch.eye(2), "labels": torch.tensor([0, 1])}
        >>> input_digests(batch) == input_digests({**batch, "labels": torch.tensor([0, 0])})
        False
    """
    kind = next(name for name in _INPUTS if name in batch)
    rows, labels = (_bytes_of_rows(batch[name]) for name in (kind, "labels"))
    crcs = (zlib.crc32(row, zlib.crc32(label)) for row, label in zip(rows, labels, strict=True))
    return [f"{crc:0{_DIGITS}x}" for crc in crcs]


def _bytes_of_rows(values: Tensor) -> list[bytes]:
    flat = values.detach().cpu().reshape(len(values), -1).contiguous()
    return [row.tobytes() for row in flat.view(torch.uint8).numpy()]


def weight_digests(module: nn.Module) -> dict[str, str]:
    """Return a digest of each parameter that trains and of each buffer, by name.

    Sharded parameters are left out: each rank holds another part of them.
    """
    tensors = {name: p.data for name, p in module.named_parameters() if p.requires_grad}
    tensors |= dict(module.named_buffers())
    return {
        name: f"{int(weight_checksum(tensor)) % 16**_DIGITS:0{_DIGITS}x}"
        for name, tensor in tensors.items()
        if type(tensor) is Tensor
    }


def config_digest(config: Mapping[str, Any]) -> str:
    """Return a digest of a configuration, without what says where a run lies.

    Args:
        config: Plain data, as in ``config.yaml``.

    Example:
        >>> config_digest({"name": "a", "seed": 1}) == config_digest({"name": "b", "seed": 1})
        True
    """
    kept = {key: value for key, value in config.items() if key not in _PLACES}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=_DIGITS // 2).hexdigest()


def find_difference(
    before: Sequence[StepRecord], now: Sequence[NamedStep]
) -> tuple[int, list[str]] | None:
    """Return the first step that differs, and in what; ``None`` if all bits are the same.

    Args:
        before: The steps as they were.
        now: The same steps, replayed.

    Example:
        >>> old = StepRecord(0, 0, 0, "", weights="", inputs="0000aaaa0000bbbb", loss="0x1p+0")
        >>> new = StepRecord(0, 0, 0, "", weights="", inputs="0000aaaa0000cccc", loss="0x1p+0")
        >>> find_difference([old], [NamedStep(new, ["a.jpg", "b.jpg"], [])])
        (0, ['images     b.jpg: 1 of 2 are read otherwise, or have another label'])
    """
    for old, new in zip(before, now, strict=True):
        words = list(_differing(old, new))
        if words:
            return old.step, words
    return None


def _differing(old: StepRecord, new: NamedStep) -> list[str]:
    words = []
    tensors = _differing_names(old.weights, new.record.weights, new.tensors)
    if tensors:
        words.append(f"weights    {_some(tensors)}: {len(tensors)} of {len(new.tensors)} tensors")
    images = _differing_names(old.inputs, new.record.inputs, new.images)
    if images:
        total, what = len(new.images), "read otherwise, or have another label"
        words.append(f"images     {_some(images)}: {len(images)} of {total} are {what}")
    if old.loss != new.record.loss:
        was, is_now = (float.fromhex(loss) for loss in (old.loss, new.record.loss))
        words.append(f"loss       {was!r} and now {is_now!r}")
    return words


def _differing_names(old: str, new: str, names: Sequence[str]) -> list[str]:
    """Return the names whose digests differ; all, if there are not as many as there were."""
    if len(old) != len(new):
        return list(names)
    places = range(0, len(new), _DIGITS)
    return [
        name
        for name, place in zip(names, places, strict=True)
        if old[place : place + _DIGITS] != new[place : place + _DIGITS]
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
