"""A lock on a folder, against taking away what another process uses."""

import fcntl
import os
from pathlib import Path


class InUseError(ValueError):
    """A folder that another process uses; the message names it."""


def lock_folder(folder: Path, *, alone: bool = False) -> int:
    """Lock a folder until the returned descriptor is closed, or the process ends.

    It binds only those who ask for it. On file systems without locks there is none, and nothing is
    said.

    Args:
        folder: What is locked.
        alone: Whether nobody else may hold it; else it is shared, and waited for.

    Raises:
        InUseError: If ``alone``, and another process holds it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> user = lock_folder(folder)
        >>> lock_folder(folder, alone=True)
        Traceback (most recent call last):
        ...
        tltool.features.folder_lock.InUseError: '...' is in use by another process.
        >>> os.close(user)
        >>> os.close(lock_folder(folder, alone=True))
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InUseError(f"'{folder}' is in use by another process.") from error
    except OSError:  # No locks here, as on some network file systems.
        return descriptor
    return descriptor
