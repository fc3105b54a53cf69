"""A lock on the directory of a set of features, against deleting what another process uses."""

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from filelock import ReadWriteLock, Timeout

_PATIENCE = 60.0
"""Seconds that a user waits for one who has a directory alone; to pack it takes seconds."""


class InUseError(ValueError):
    """A directory that another process uses; the message names it."""


def lock_directory(directory: Path, *, alone: bool = False) -> contextlib.ExitStack:
    """Lock a directory until what is returned is closed, or the process ends.

    It binds only those who ask for it. Where the file system has no locks, or the lock's file
    cannot be made, there is none, and nothing is said. That file lies beside the directory, and
    stays when the directory goes, for somebody may be waiting for it.

    Args:
        directory: What is locked.
        alone: Whether nobody else may hold it; else it is shared, and waited for, but not for ever:
            who only reads notices what is gone.

    Raises:
        InUseError: If ``alone``, and another process holds it.

    Example:
        >>> import tempfile
        >>> directory = Path(tempfile.mkdtemp())
        >>> user = lock_directory(directory)
        >>> lock_directory(directory, alone=True)
        Traceback (most recent call last):
        ...
        tltool.features.directory_lock.InUseError: '...' is in use by another process.
        >>> user.close()
        >>> with lock_directory(directory, alone=True):
        ...     directory.rmdir()
    """
    path = directory.with_name(f".{directory.name}.lock")
    held = contextlib.ExitStack()
    try:
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            path.chmod(0o666)  # Others must write to it to hold it, where they may only read.
        _check_locks(path.parent)
        lock = ReadWriteLock(path, is_singleton=False)
        held.callback(lock.close)
        lock.acquire_write(blocking=False) if alone else lock.acquire_read(_PATIENCE)
    except Timeout as error:
        held.close()
        if alone:
            raise InUseError(f"'{directory}' is in use by another process.") from error
    except (OSError, sqlite3.Error):  # No locks here, as on some network file systems.
        held.close()
    return held


def _check_locks(directory: Path) -> None:
    """Raise if a file system has no locks, by one on a new file, which nobody else can hold.

    SQLite takes its error (ENOLCK) for a lock that somebody holds, and would wait for it.
    """
    if os.name != "posix":
        return
    import fcntl

    try:
        file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # closed below
    except OSError:  # It may only be read; where a lock is held, there are locks.
        return
    with file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
