"""Where a run's files lie: ``runs/<name>/<n>``, a new number each time."""

import os
from pathlib import Path

from lightning.fabric.utilities.rank_zero import rank_zero_only


def create_run_folder(runs_dir: str | Path, name: str) -> Path:
    """Create the next free folder ``runs_dir/name/0``, ``1``, ... and return it.

    Two runs that start at once get different folders, for creating one is atomic. Only rank 0
    creates one; the other ranks write nothing of their own.

    Raises:
        ValueError: If the name is not one folder name.
        PermissionError: If the folder cannot be written.
    """
    if not name or name in {".", ".."} or "/" in name or os.sep in name:
        raise ValueError(
            f"`name` must be a plain folder name, got {name!r}. Set `runs_dir` for the place."
        )
    parent = Path(runs_dir).expanduser() / name
    if getattr(rank_zero_only, "rank", 0) != 0:
        return parent / "rank"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = max((int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=-1) + 1
        while True:
            try:
                (parent / str(number)).mkdir()
            except FileExistsError:
                number += 1
            else:
                return parent / str(number)
    except OSError as error:
        raise PermissionError(
            f"Cannot write the run to {str(parent)!r}: {error.strerror}. Set --runs_dir to a "
            "folder that you may write."
        ) from error


def resumed_run_folder(ckpt_path: str | Path | None) -> Path | None:
    """Return the run that a checkpoint lies in, which goes on; ``None`` if it lies elsewhere.

    Example:
        >>> resumed_run_folder("downloads/last.ckpt") is None
        True
    """
    if ckpt_path is None:
        return None
    folder = Path(ckpt_path).expanduser().absolute().parent
    is_run = folder.name == "checkpoints" and (folder.parent / "config.yaml").is_file()
    return folder.parent if is_run else None
