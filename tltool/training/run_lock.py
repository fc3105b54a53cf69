"""A lock on a run directory: two processes that train in one would write over each other."""

import contextlib
import errno
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tltool.training.distributed.run_status import FILE
from tltool.training.run_directory import is_first_rank

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

#: Seconds to wait: workers outlive a killed process, and a pod its successor, for that long.
PATIENCE = 30.0


class TrainedMeanwhile(ValueError):  # noqa: N818  # It says what has happened.
    """Another process has trained in a run directory since this one looked for what to resume."""


@contextlib.contextmanager
def locked_run_dir(run_dir: Path) -> Iterator[None]:
    """Hold a run directory alone; the end of the process lets go of it too.

    Only rank 0 asks. Where the file system has no locks, as some network file systems, there is
    none, and nothing is said.

    Raises:
        ValueError: If another process holds it, and does not end within `PATIENCE`.

    Example:
        >>> import tempfile
        >>> with locked_run_dir(Path(tempfile.mkdtemp())):
        ...     print("training")
        training
    """
    if fcntl is None or not is_first_rank():
        yield
        return
    descriptor = os.open(run_dir, os.O_RDONLY)
    try:
        _acquire(descriptor, run_dir)
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # For workers too, which share it.
        os.close(descriptor)


def _acquire(descriptor: int, run_dir: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not _try(descriptor):
        if time.monotonic() >= end:
            raise ValueError(
                f"Another process trains in {str(run_dir)!r}. Wait until it has ended, or set "
                "another --run_dir."
            )
        log.info("%s is in use by another process; waiting for its end.", run_dir)
        time.sleep(0.5)


def _try(descriptor: int) -> bool:
    """Tell whether the lock is held now, or there are none here."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN)
    return True


def file_times(run_dir: Path) -> dict[str, int]:
    """Return when the status and the checkpoints of a run were written, in nanoseconds, by name.

    Example:
        >>> import tempfile
        >>> file_times(Path(tempfile.mkdtemp()))
        {}
    """
    times = dict[str, int]()
    for path in [run_dir / FILE, *sorted((run_dir / "checkpoints").glob("*.ckpt"))]:
        with contextlib.suppress(OSError):  # Not there, or not any more.
            times[path.name] = path.stat().st_mtime_ns
    return times


def check_untouched(run_dir: Path, before: Mapping[str, int]) -> None:
    """Raise if a run directory has been trained in since its `file_times` were read.

    Only rank 0 looks; it holds the lock.

    Raises:
        TrainedMeanwhile: If so.
    """
    if is_first_rank() and file_times(run_dir) != dict(before):
        raise TrainedMeanwhile(
            f"Another process has trained in {str(run_dir)!r} meanwhile. Type the command again: "
            "it goes on from there."
        )
