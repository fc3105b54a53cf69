"""Which files were seen with which content, so that they need not be read again."""

import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tltool.features.segments import remove_abandoned, write_chunks

log = logging.getLogger(__name__)

# A file that changed this shortly ago may change again without a new time stamp, for clocks of file
# systems tick in steps of up to 2 seconds.
SETTLED_AFTER = 2.0

Look = tuple[int, int, int, int]


class SeenFiles:
    """A table from a file, and how it looks from outside, to the hash of its content.

    Size, both time stamps and the inode only decide whether the hash must be taken again; a lost
    table costs time and nothing else. The time of the last change (ctime) cannot be set by
    programs, so a file that was replaced by one of equal size and date is noticed.

    Each process writes a file of its own, into which it takes those that are there: two that write
    at the same time lose nothing, without a lock.

    Args:
        root: The folder of the cache.
        files: The files of a data set. Sets with the same folder share a table.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "ant.jpg").write_bytes(b"an ant")
        >>> look = look_at(folder / "ant.jpg")
        >>> seen = SeenFiles(folder / "cache", [str(folder / "ant.jpg")])
        >>> seen.add(str(folder / "ant.jpg"), look, b"0123456789abcdef", now=look[2] / 1e9 + 3)
        >>> seen.save()
        >>> SeenFiles(folder / "cache", [str(folder / "ant.jpg")]).find(str(folder / "ant.jpg"))
        b'0123456789abcdef'
    """

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        place = (
            os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])
            if files
            else ""
        )
        name = hashlib.blake2b(os.fsencode(place), digest_size=16).hexdigest()
        self.folder = root / "photos" / name
        self._table: dict[str, str] = {}
        self._is_changed = False
        self.reload()

    def reload(self) -> None:
        """Read what other processes have written, too."""
        for path in self._parts():
            try:
                with path.open(encoding="ascii") as table:
                    for line in table:
                        entry, _, file = line.rpartition("\t")
                        self._table.setdefault(json.loads(file), entry)
            except (OSError, ValueError):  # Taken into another one by now, or damaged.
                continue

    def find(self, file: str) -> bytes | None:
        """Return the hash of a file's content, if it looks as it did when the hash was taken."""
        entry = self._table.get(os.path.abspath(file))
        if entry is None:
            return None
        look, _, digest = entry.partition("\t")
        now = try_look(file)
        return bytes.fromhex(digest) if now and look == _text(now) else None

    def add(self, file: str, look: Look, digest: bytes, *, now: float | None = None) -> None:
        """Remember a hash.

        Args:
            file: The file.
            look: What `look_at` said before it was read.
            digest: The hash of its content.
            now: The time when it was looked at; ``None`` for now.
        """
        if (time.time() if now is None else now) - look[2] / 1e9 < SETTLED_AFTER:
            return
        self._table[os.path.abspath(file)] = f"{_text(look)}\t{digest.hex()}"
        self._is_changed = True

    def forget(self, file: str) -> None:
        """Take the hash of a file anew at its next use."""
        self._table[os.path.abspath(file)] = "\t"  # Not removed: other tables may have it.
        self._is_changed = True

    def save(self) -> None:
        """Write the table; where that fails, files are read again next time, and this is said."""
        if not self._is_changed:
            return
        try:
            self._write()
        except OSError as error:
            log.warning(
                "'%s' cannot be written: %s. The photos are hashed again in the next run.",
                self.folder,
                error.strerror,
            )
        self._is_changed = False

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self.folder)
        taken = self._parts()
        self.reload()
        lines = (f"{entry}\t{json.dumps(file)}\n" for file, entry in self._table.items())
        write_chunks(self.folder / f"{uuid.uuid4().hex}.tsv", (line.encode() for line in lines))
        for part in taken:
            part.unlink(missing_ok=True)

    def _parts(self) -> list[Path]:
        # The latest first: what it says of a file counts.
        parts = []
        for path in self.folder.glob("*.tsv"):
            try:
                parts.append((-path.stat().st_mtime_ns, path))
            except FileNotFoundError:
                continue
        return [path for _, path in sorted(parts)]


def remove_tables(root: Path) -> None:
    """Delete all that is known of files; they are read again when they are used."""
    shutil.rmtree(root / "photos", ignore_errors=True)


def look_at(file: str | os.PathLike[str]) -> Look:
    """Return size, times of the last writing and of the last change in nanoseconds, and inode."""
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def try_look(file: str | os.PathLike[str]) -> Look | None:
    """Return what `look_at` does, or ``None`` if the file is not there: who reads it says so."""
    try:
        return look_at(file)
    except OSError:
        return None


def _text(look: Look) -> str:
    return " ".join(map(str, look))
