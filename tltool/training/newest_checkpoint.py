"""The newest whole checkpoint of a run directory, to resume from."""

import logging
from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from tltool._atomic_write import PARTIAL
from tltool.models.weights.torch_files import read_torch_file
from tltool.training.callbacks.ending_files import is_left_by_training
from tltool.training.checkpoint_io import TASK

_warn = rank_zero_only(logging.getLogger(__name__).warning)

_SHARDED = "meta.pt"  # What Lightning writes last into a checkpoint that is a directory of shards.


def newest_checkpoint(run_dir: str | Path) -> Path | None:
    """Return the checkpoint of a run that has trained longest, or ``None`` if there is none yet.

    What counts is the progress in the file, not its date, which copies change. Among equals it is
    ``last.ckpt``. What a kill or a full disk has cut short is passed over, and a warning names it.
    Weights alone, and those that `Ending` has chosen, are passed over too.

    Args:
        run_dir: The run directory.

    Raises:
        ValueError: If there are checkpoints, but all of them are damaged: a new start would
            replace them.
        OSError: If one cannot be read.

    Example:
        >>> import tempfile
        >>> newest_checkpoint(tempfile.mkdtemp()) is None
        True
    """
    folder = Path(run_dir).expanduser() / "checkpoints"
    progress = dict[Path, tuple[int, int, bool]]()
    damaged = dict[str, str]()
    for path in sorted(folder.glob("*.ckpt")):
        try:
            reached = _progress(path)
        except ValueError as error:
            damaged[path.name] = str(error)
            continue
        if reached is not None:
            progress[path] = (*reached, path.name == "last.ckpt")
    if damaged and not progress:
        raise ValueError(
            f"{str(folder)!r} has no whole checkpoint to resume from. Delete what is damaged to "
            f"start anew. {' '.join(damaged.values())}"
        )
    for name in [*damaged, *(path.name for path in folder.glob(f".*.ckpt.*{PARTIAL}"))]:
        _warn("%s is not whole, and is passed over.", name)
    return max(progress, key=lambda path: progress[path], default=None)


def _progress(path: Path) -> tuple[int, int] | None:
    """Return the optimizer steps and batches that were trained; ``None`` for weights alone."""
    if path.is_dir():
        path /= _SHARDED
        if not path.is_file():
            raise ValueError(f"Checkpoint {str(path.parent)!r} lacks {_SHARDED}.")
    checkpoint = read_torch_file(path, "Checkpoint", map_location="meta")
    is_training = isinstance(checkpoint, Mapping) and {TASK, "loops"} <= checkpoint.keys()
    if not is_training or not is_left_by_training(checkpoint):
        return None
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]
    return checkpoint["global_step"], batches["processed"]
