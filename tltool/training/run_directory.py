"""Run directories, ``runs/<name>/<n>``, with a new number each time."""

import contextlib
import os
from pathlib import Path

from lightning.fabric.utilities.rank_zero import rank_zero_only

from tltool._atomic_write import remove_abandoned


def create_run_dir(runs_dir: str | Path, name: str) -> Path:
    """Create the next free directory ``runs_dir/name/0``, ``1``, ... and return it.

    Two runs that start at once get different directories, for creating one is atomic. Only rank 0
    creates one; the other ranks write nothing of their own.

    Raises:
        ValueError: If the name is not one directory name.
        PermissionError: If the directory cannot be written.
    """
    if not name or name in {".", ".."} or "/" in name or os.sep in name:
        raise ValueError(
            f"`name` must be a plain directory name, got {name!r}. Set `runs_dir` for the place."
        )
    parent = Path(runs_dir).expanduser() / name
    if getattr(rank_zero_only, "rank", 0) != 0:
        return parent / "rank"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for directory, _, _ in os.walk(parent):  # Earlier runs may have been killed.
            remove_abandoned(Path(directory))
        number = max((int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=-1) + 1
        while True:
            with contextlib.suppress(FileExistsError):  # Another run was quicker.
                (parent / str(number)).mkdir()
                return parent / str(number)
            number += 1
    except OSError as error:
        raise PermissionError(
            f"Cannot write the run to {str(parent)!r}: {error.strerror}. Set --runs_dir to a "
            "directory that you may write."
        ) from error


def resumed_run_dir(ckpt_path: str | Path | None) -> Path | None:
    """Return the run directory that a checkpoint lies in, or ``None`` if it lies elsewhere.

    Example:
        >>> resumed_run_dir("downloads/last.ckpt") is None
        True
    """
    if ckpt_path is None:
        return None
    directory = Path(ckpt_path).expanduser().absolute().parent
    is_run = directory.name == "checkpoints" and (directory.parent / "config.yaml").is_file()
    return directory.parent if is_run else None
