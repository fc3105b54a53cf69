"""Checkpoint files: written whole or not at all, and read without unpickling code."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from tltool._atomic_write import whole_file
from tltool.models.weights.safetensors_file import read_description
from tltool.models.weights.torch_files import read_torch_file
from tltool.training.adapter_file import is_adapter_file, read_adapters
from tltool.training.split_facts import described_split
from tltool.training.task_file import is_task_file, read_task

TASK = "task_config"  # The key under which a checkpoint says how to rebuild its task.
CONFIG = "config"  # That of the configuration of `tltool fit`, as plain data.
LOADED_HASH = "loaded_hash"  # That of `Backbone.loaded_hash`.


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside its place, flush it to the disk, then move it there in one step.

    Lightning's own writer goes through the system's temporary folder; on another file system the
    move is a copy, which a kill can cut short over the good checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        """See ``TorchCheckpointIO.save_checkpoint``.

        Raises:
            OSError: If it cannot be written, as on a full disk; an older one is left as it is.
        """
        if storage_options is not None:
            raise TypeError("`storage_options` are not supported: checkpoints are local files.")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target, sync=True) as partial:
            try:
                with partial.open("wb") as file:
                    torch.save(checkpoint, file)
            except (OSError, RuntimeError) as error:
                why = _failed_write(error)
                if why is None:
                    raise
                raise OSError(
                    f"Cannot write {str(target)!r}: {why}. Make room there, and resume the run: "
                    "what was saved before is whole."
                ) from error


def _failed_write(error: BaseException) -> str | None:
    """Return why a file could not be written; torch hides it behind an error of its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__context__
    return None


def read_checkpoint(
    checkpoint_path: str | Path | IO[bytes], *, map_location: str = "cpu"
) -> dict[str, Any]:
    """Read a checkpoint of tltool, unpickling nothing but tensors and plain data.

    Args:
        checkpoint_path: The file; or one of `save_adapters` or of `tltool export --to safetensors`,
            which stands for it.
        map_location: Where its tensors go; with ``meta`` they are not read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint of tltool.
    """
    if isinstance(checkpoint_path, str | Path):
        path = Path(checkpoint_path)
        _check_is_file(path)
        if is_adapter_file(path):
            return _of_file(path, *read_adapters(path))
        if is_task_file(path):
            return _of_file(path, *read_task(path))
    checkpoint = read_torch_file(checkpoint_path, "Checkpoint", map_location=map_location)
    if not (isinstance(checkpoint, Mapping) and _is_own(checkpoint)):
        raise ValueError(
            f"{checkpoint_path} is no checkpoint of tltool, which says how to rebuild the model. "
            "To start from its weights, set `model.backbone.weights` to this file."
        )
    return dict(checkpoint)


def _of_file(path: Path, config: dict[str, Any], state: dict[str, Tensor]) -> dict[str, Any]:
    """Return the checkpoint that a file of weights stands for."""
    description = read_description(path)
    calibration = description.get("calibration", {})
    split = described_split(description)
    return {TASK: config, "state_dict": state, "calibration": calibration, **split}


def _is_own(checkpoint: Mapping[str, Any]) -> bool:
    return all(isinstance(checkpoint.get(key), Mapping) for key in (TASK, "state_dict"))


def _check_is_file(path: Path) -> None:
    try:
        is_file, is_directory = path.is_file(), path.is_dir()
    except OSError as error:
        raise OSError(f"Checkpoint {str(path)!r} cannot be found: {error.strerror}.") from error
    if is_file:
        return
    found = sorted(path.rglob("*.ckpt"))[:3] if is_directory else []
    such = " or ".join(repr(str(file)) for file in found) or "runs/images/0/checkpoints/best.ckpt"
    if is_directory:
        raise IsADirectoryError(f"{str(path)!r} is a directory. Name a checkpoint, such as {such}.")
    raise FileNotFoundError(
        f"There is no checkpoint {str(path)!r}. Name a file, for example {such}."
    )
