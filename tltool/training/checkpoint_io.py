"""Checkpoint files: written whole or not at all, and read without unpickling code."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.plugins.io import TorchCheckpointIO

from tltool._atomic_write import whole_file

TASK = "task_config"  # The key under which a checkpoint says how to rebuild its task.
CONFIG = "config"  # That of the configuration of `tltool fit`, as plain data.


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside its place, flush it to the disk, then move it there in one step.

    Lightning's own writer goes through the system's temporary folder; on another file system the
    move is a copy, which a kill can cut short over the good checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        """See ``TorchCheckpointIO.save_checkpoint``."""
        if storage_options is not None:
            raise TypeError("`storage_options` are not supported: checkpoints are local files.")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target, sync=True) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)


def read_checkpoint(
    checkpoint_path: str | Path | IO[bytes], *, map_location: str = "cpu"
) -> dict[str, Any]:
    """Read a checkpoint of tltool, unpickling nothing but tensors and plain data.

    Args:
        checkpoint_path: The file.
        map_location: Where its tensors go; with ``meta`` they are not read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint of tltool.
    """
    if isinstance(checkpoint_path, str | Path) and not Path(checkpoint_path).is_file():
        raise FileNotFoundError(
            f"There is no checkpoint {str(checkpoint_path)!r}. Name a file, for example "
            "runs/images/0/checkpoints/best.ckpt."
        )
    checkpoint = torch.load(checkpoint_path, map_location=map_location, weights_only=True)
    if not (isinstance(checkpoint, Mapping) and TASK in checkpoint):
        raise ValueError(
            f"{checkpoint_path} is no checkpoint of tltool, which says how to rebuild the model. "
            "To start from its weights, set `model.backbone.weights` to this file."
        )
    return dict(checkpoint)
