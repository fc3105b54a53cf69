"""The weights that a run starts from, as far as training can change them, kept beside it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tltool.finetuning.plan import trained_by
from tltool.finetuning.schedule import Schedule
from tltool.models.layer_groups import layer_groups
from tltool.models.weights.torch_files import read_torch_file
from tltool.training.checkpoint_io import AtomicCheckpointIO

FILE = "start.pt"
"""Its name, in the directory of the checkpoints."""

_KEY = "start_weights"


def changing_tensors(task: nn.Module, schedule: Schedule | None) -> dict[str, Tensor]:
    """Return copies, on the CPU, of what training can change: parameters and buffers.

    Args:
        task: A module with a ``backbone`` and a ``head``.
        schedule: A resolved schedule; ``None`` if all parameters train.
    """
    parameters = {name for name, _ in task.named_parameters()}
    trained = parameters
    if schedule is not None:
        groups = layer_groups(task)
        trained = set().union(*(trained_by(phase, task, groups) for phase in schedule.phases))
    return {
        name: tensor.detach().cpu().clone()
        for name, tensor in task.state_dict().items()
        if name in trained or name not in parameters
    }


def save_start(directory: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write the start, whole or not at all, and return its hash."""
    AtomicCheckpointIO().save_checkpoint({_KEY: dict(tensors)}, directory / FILE)
    return _hash(tensors)


def read_start(directory: Path, expected: str | None) -> dict[str, Tensor] | None:
    """Return the start of a run; ``None`` where there is none, or it is damaged or another run's.

    Args:
        directory: Where its checkpoints lie.
        expected: The hash that its checkpoints keep of it.
    """
    path = directory / FILE
    if expected is None or not path.is_file():
        return None
    try:
        content = read_torch_file(path, "Start")
    except ValueError:  # Damaged; what cannot be used is said once, by the caller.
        return None
    found = content.get(_KEY) if isinstance(content, Mapping) else None
    return dict(found) if isinstance(found, Mapping) and _hash(found) == expected else None


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in tensors.items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
