"""Run directories: ``runs/<name>/<n>`` with a new number each time, or one that is named."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lightning.fabric.utilities.rank_zero import rank_zero_only

from tltool._atomic_write import remove_abandoned


def create_run_dir(runs_dir: str | Path, name: str) -> Path:
    """Create the next free directory ``runs_dir/name/0``, ``1``, ... and return it.

    Two runs that start at once get different directories, for creating one is atomic. Only rank 0
    creates one; the other ranks learn of it where they meet (`LastCheckpoint`), and write nothing
    before.

    Raises:
        ValueError: If the name is not one directory name.
        PermissionError: If the directory cannot be written.
    """
    if not name or name in {".", ".."} or "/" in name or os.sep in name:
        raise ValueError(
            f"`name` must be a plain directory name, got {name!r}. Set `runs_dir` for the place."
        )
    parent = Path(runs_dir).expanduser() / name
    if not is_first_rank():
        return parent / "of_rank_0"
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


@contextlib.contextmanager
def number_given_back(run_dir: Path) -> Iterator[None]:
    """Remove a numbered directory again if nothing was written into it, as by a failed start.

    Example:
        >>> import tempfile
        >>> run_dir = create_run_dir(tempfile.mkdtemp(), "mine")
        >>> with number_given_back(run_dir):
        ...     print(run_dir.is_dir())
        True
        >>> run_dir.is_dir()
        False
    """
    try:
        yield
    finally:
        if is_first_rank():
            with contextlib.suppress(OSError):  # It is not empty.
                run_dir.rmdir()


def open_run_dir(path: str | Path) -> Path:
    """Return the directory of one run, created if it is not there: the same at each start.

    What a killed process has left half written in it is removed. See `newest_checkpoint` for what
    there is to resume.

    Raises:
        PermissionError: If the directory cannot be created.
        ValueError: If it is a file, or holds the directories of several runs.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine"
        >>> open_run_dir(path) == open_run_dir(path) == path
        True
    """
    run_dir = check_run_dir(path)
    if not is_first_rank():
        return run_dir
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionError(
            f"Cannot write the run to {str(run_dir)!r}: {error.strerror}. Set --run_dir to a "
            "directory that you may write."
        ) from error
    for directory in (run_dir, run_dir / "checkpoints"):
        remove_abandoned(directory)
    return run_dir


def check_run_dir(path: str | Path) -> Path:
    """Return the path of a directory that is one run, or can be.

    Raises:
        ValueError: If it is a file, or holds the directories of several runs.
    """
    run_dir = Path(path).expanduser()
    if run_dir.exists() and not run_dir.is_dir():
        raise ValueError(f"`run_dir` is a file: {str(run_dir)!r}. Name a directory.")
    runs = sorted(config.parent.name for config in run_dir.glob("*/config.yaml"))
    if runs and not (run_dir / "config.yaml").is_file():
        raise ValueError(
            f"`run_dir` is one run, but {str(run_dir)!r} holds several: {', '.join(runs[:5])}. "
            f"Name one, such as {str(run_dir / runs[0])!r}, or set `runs_dir`."
        )
    return run_dir


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


def is_first_rank() -> bool:
    """Tell whether this process is rank 0, before there is a process group too."""
    return getattr(rank_zero_only, "rank", 0) == 0
