"""Adapters of a trained task: saved alone, loaded onto pretrained weights, and merged."""

from pathlib import Path
from typing import IO

from tltool.models.weights.safetensors_file import read_description
from tltool.training.adapter_file import is_adapter_file, read_adapters, write_adapters
from tltool.training.calibration import CALIBRATION, Calibration
from tltool.training.checkpoint_io import TASK, read_checkpoint
from tltool.training.image_task import ImageTask
from tltool.training.split_facts import split_facts


def save_adapters(checkpoint_path: str | Path | IO[bytes], path: str | Path) -> Path:
    """Write what a checkpoint has beyond the pretrained weights that its training started from.

    That is the adapters and the head, and whatever else differs, such as norms that have trained or
    layers that the pretrained weights lack: a few percent of the checkpoint after `LoRA`. The
    pretrained weights are read for that, from where they were read for the training, and those that
    are not in the file are named by a hash. The file stands for the checkpoint wherever one is
    loaded, as long as these weights are there.

    Args:
        checkpoint_path: A checkpoint of ``tltool fit``.
        path: The file to write, ``.safetensors``; a checksum goes beside it.

    Returns:
        ``path``.

    Raises:
        ValueError: If training started from random weights, or a file is of another kind.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"'{path}' must end in .safetensors: that is what it will be.")
    checkpoint = read_checkpoint(checkpoint_path)
    facts = {CALIBRATION: checkpoint.get(CALIBRATION, {}), **split_facts(checkpoint)}
    write_adapters(path, checkpoint[TASK], checkpoint["state_dict"], facts)
    return path


def load_adapters(path: str | Path, *, weights: str | None = None) -> ImageTask:
    """Rebuild a task from a file of `save_adapters` and the pretrained weights.

    Args:
        path: The file.
        weights: Where the pretrained weights are, see `Backbone`; ``None`` for where they were.

    Returns:
        The task in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is of another kind, or the pretrained weights are not the same.
        ConnectionError: If these must be downloaded and the hub is out of reach.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file '{path}' with adapters.")
    if not is_adapter_file(path):
        raise ValueError(
            f"'{path}' is no file of `save_adapters`. A checkpoint is loaded by `tltool.load`."
        )
    config, state = read_adapters(path, weights)
    task = ImageTask.rebuilt(config, state)
    task.calibration = Calibration.of_checkpoint(read_description(path))
    return task


def merge_adapters(task: ImageTask) -> ImageTask:
    """Merge the adapters of a task into its weights, in place: it is then as without `LoRA`.

    Its logits stay, and a checkpoint of it needs nothing of adapters.

    Returns:
        ``task``.

    Raises:
        ValueError: If there are no adapters.
    """
    return task.merge_adapters_()
