"""Hashes of files, kept so that an unchanged file need not be read again."""

import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tltool._atomic_write import write_whole

log = logging.getLogger(__name__)

# A file that changed this shortly ago may change again without a new time stamp, for clocks of file
# systems tick in steps of up to 2 seconds.
SETTLED_AFTER = 2.0

HASH_BYTES = 16

# Status, hash and file; of a file that was forgotten, the file alone.
_LINE = re.compile(
    rf'(?P<entry>-?\d+(?: -?\d+)*\t[0-9a-f]{{{2 * HASH_BYTES}}}|\t)\t(?P<file>".*")\n'
)

FileStatus = tuple[int, ...]
"""Size, times of the last writing and of the last change in nanoseconds, and inode of a file."""


class FileHashes:
    """A table from a file, and its status, to the hash of its content.

    The status only decides whether the hash must be taken again; a lost table costs time and
    nothing else. The time of the last change (ctime) cannot be set by programs, so a file that was
    replaced by one of equal size and date is noticed.

    Each process writes a file of its own, into which it takes those that are there: two that write
    at the same time lose nothing, without a lock. An SQLite database is not safe on network
    file systems (https://sqlite.org/useovernet.html).

    Args:
        root: The directory of the cache.
        files: The files of a data set. Sets with the same directory share a table.

    Example:
        >>> import tempfile
        >>> directory = Path(tempfile.mkdtemp())
        >>> file = str(directory / "ant.jpg")
        >>> _ = Path(file).write_bytes(b"an ant")
        >>> status = file_status(file)
        >>> hashes = FileHashes(directory / "cache", [file])
        >>> hashes.add(file, status, hash_content(b"an ant"))
        >>> hashes.find(file) is None  # It changed just now, and may change again unnoticed.
        True
    """

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        directories = [os.path.dirname(os.path.abspath(file)) for file in files]
        place = os.path.commonpath(directories) if directories else ""
        self.directory = root / "files" / hash_content(os.fsencode(place)).hex()
        self._table: dict[str, str] = {}
        self._is_changed = False
        self.reload()

    def reload(self) -> None:
        """Read what other processes have written, too."""
        for path in self._tables():
            try:
                with path.open(encoding="ascii") as lines:
                    for line in lines:
                        found = _LINE.fullmatch(line)
                        if found is not None:
                            self._table.setdefault(json.loads(found["file"]), found["entry"])
            except (OSError, ValueError):  # Taken into another one by now, or damaged.
                continue

    def find(self, file: str) -> bytes | None:
        """Return the hash of a file's content, if its status is that of when it was taken."""
        known, _, digest = self._table.get(os.path.abspath(file), "").partition("\t")
        status = file_status(file) if known else None
        return bytes.fromhex(digest) if status and known == _text(status) else None

    def add(self, file: str, status: FileStatus, digest: bytes) -> None:
        """Remember a hash, unless the file changed just now.

        Args:
            file: The file.
            status: What `file_status` said before it was read.
            digest: The hash of its content.
        """
        if time.time() - status[2] / 1e9 >= SETTLED_AFTER:
            self._set(file, f"{_text(status)}\t{digest.hex()}")

    def forget(self, file: str) -> None:
        """Take the hash of a file anew at its next use."""
        self._set(file, "\t")  # Not removed: other tables may have it.

    def save(self) -> None:
        """Write the table; where that fails, files are read again next time, and this is said."""
        if not self._is_changed:
            return
        self._is_changed = False
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            taken = self._tables()
            self.reload()
            lines = (f"{entry}\t{json.dumps(file)}\n" for file, entry in self._table.items())
            path = self.directory / f"{uuid.uuid4().hex}.tsv"
            write_whole(path, "".join(lines), sync=True)
            for path in taken:
                path.unlink(missing_ok=True)
        except OSError as error:
            message = "'%s' cannot be written: %s. The images are hashed again in the next run."
            log.warning(message, self.directory, error.strerror)

    def _set(self, file: str, entry: str) -> None:
        self._table[os.path.abspath(file)] = entry
        self._is_changed = True

    def _tables(self) -> list[Path]:
        # The latest first: what it says of a file counts.
        try:
            found = [(file_status(path), path) for path in self.directory.glob("*.tsv")]
        except OSError:  # Not to be entered, or lost by a network file system.
            return []
        written = [(status[1], path) for status, path in found if status is not None]
        return [path for _, path in sorted(written, reverse=True)]


def remove_file_hashes(root: Path) -> None:
    """Delete all that is known of files; they are read again when they are used."""
    shutil.rmtree(root / "files", ignore_errors=True)


def file_status(file: str | os.PathLike[str]) -> FileStatus | None:
    """Return the status of a file, or ``None`` if it is not there: who reads it says so."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def hash_content(content: bytes) -> bytes:
    """Return the hash of a file's content."""
    return hashlib.blake2b(content, digest_size=HASH_BYTES).digest()


def _text(status: FileStatus) -> str:
    return " ".join(map(str, status))
