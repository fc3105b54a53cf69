"""Atomic writes: a file is there whole or not at all, whatever ends the process that writes it."""

import contextlib
import errno
import functools
import hashlib
import os
import platform
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: How the name of a file ends while it is written. A process that was killed leaves it behind.
PARTIAL = ".partial"

# Nobody writes for so long without a byte in between: what another machine left is removed then.
_ABANDONED_AFTER = 3600.0


@contextlib.contextmanager
def whole_file(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Give a path to write to, and let it take its own place when all of it is written.

    What killed processes left half written in the same directory is removed first.

    Args:
        path: Where the file is to be; an older one is replaced.
        sync: Wait until it has reached the disk, so that even a power cut leaves one of the two.

    Yields:
        A path beside it, of a file that is not there yet.

    Raises:
        FileNotFoundError: If its directory does not exist.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.txt"
        >>> with whole_file(path) as partial:
        ...     _ = partial.write_text("1 2 3")
        ...     path.exists()
        False
        >>> path.read_text()
        '1 2 3'
    """
    partial = _partial_path(path)
    try:
        yield partial
        if sync:
            _sync(partial)
        partial.replace(path)
        if sync and os.name == "posix":  # Windows opens no directories.
            _sync_directory(path.parent)  # Else the name may be lost.
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write in, and let it take its own place when all of it is written.

    Args:
        path: Where the folder is to be.

    Yields:
        A folder beside it.

    Raises:
        FileNotFoundError: If the directory around it does not exist.
        FileExistsError: If there is something already.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "export"
        >>> with whole_folder(path) as partial:
        ...     _ = (partial / "numbers.txt").write_text("1 2 3")
        ...     path.exists()
        False
        >>> [each.name for each in path.iterdir()]
        ['numbers.txt']
    """
    if path.exists():
        raise FileExistsError(f"{str(path)!r} exists. Name a new folder, or remove it first.")
    partial = _partial_path(path)
    partial.mkdir()
    try:
        yield partial
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_whole(path: Path, content: str, *, sync: bool = False) -> None:
    """Write a text, whole or not at all; see `whole_file`.

    Raises:
        FileNotFoundError: If its directory does not exist.
    """
    with whole_file(path, sync=sync) as partial:
        partial.write_text(content, encoding="utf-8")


def save_figure(figure: Any, path: Path, *, dpi: int = 150) -> None:
    """Draw a figure of matplotlib as what the suffix says (PNG without one), whole or not at all.

    Raises:
        FileNotFoundError: If its directory does not exist.
        ValueError: If matplotlib cannot draw such a file.
    """
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=dpi, format=path.suffix.removeprefix(".").lower() or "png")


def remove_abandoned(directory: Path) -> None:
    """Delete what is half written in a directory by a dead writer; leave that of a living one.

    The name of such a file tells its writer. A process of this machine is dead if none has its
    number; of another machine's that cannot be asked, so its file must be an hour old.

    Example:
        >>> import tempfile
        >>> partial = Path(tempfile.mkdtemp()) / f".a.txt.other-1-0123456789ab{PARTIAL}"
        >>> partial.touch()
        >>> remove_abandoned(partial.parent)
        >>> partial.exists()
        True
        >>> os.utime(partial, (0, 0))
        >>> remove_abandoned(partial.parent)
        >>> partial.exists()
        False
    """
    for partial in directory.glob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError):  # Another process was quicker, or it is another user's.
            is_old = time.time() - partial.stat().st_mtime > _ABANDONED_AFTER
            if is_old or _has_dead_writer(partial):
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()


def _partial_path(path: Path) -> Path:
    """Return where to write what is to be at a path, and remove what killed processes left."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r}. Create it first.")
    remove_abandoned(path.parent)
    writer = f"{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    return path.with_name(f".{path.name}.{writer}{PARTIAL}")


def _has_dead_writer(partial: Path) -> bool:
    machine, _, process = partial.name.split(".")[-2].partition("-")
    number = process.partition("-")[0]
    # Windows has no signal that asks without disturbing.
    if os.name != "posix" or machine != _machine() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except (OSError, OverflowError) as error:  # Or another user's, or no number of a process.
        return isinstance(error, ProcessLookupError)
    return False


@functools.cache
def _machine() -> str:
    """Return a name of where process numbers have one meaning: a machine, or a container on it.

    Containers may share the machine's name, and machines an image's; the kernel's boot and its
    namespace of processes tell them apart.
    """
    facts = [platform.node()]
    with contextlib.suppress(OSError):  # Linux alone has these.
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii"))
        facts.append(os.readlink("/proc/self/ns/pid"))  # it names no file
    return hashlib.blake2b("\n".join(facts).encode(), digest_size=4).hexdigest()


def _sync_directory(path: Path) -> None:
    try:
        _sync(path)
    except OSError as error:  # Some network file systems cannot do that: the file is there.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
