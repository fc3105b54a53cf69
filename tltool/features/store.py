"""Store of the features of one fingerprint: on disk, or in memory where the disk cannot be used."""

import contextlib
import errno
import json
import logging
import os
import shutil
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.filesize import decimal
from torch import Tensor

from tltool._atomic_write import write_whole
from tltool.features.directory_lock import lock_directory
from tltool.features.fingerprint import Fingerprint
from tltool.features.segments import (
    KEY_BYTES,
    DamagedSegmentError,
    read_segment,
    segment_paths,
    write_segment,
)

log = logging.getLogger(__name__)

FACTS_FILE = "fingerprint.json"

# A killed run loses what was computed since the last segment.
_SEGMENT_BYTES = 16 * 2**20
_SEGMENT_SECONDS = 60.0


class NotKeptError(OSError):
    """Rows that are too large for the memory cannot be kept on the disk."""


class FeatureStore:
    """Rows of features by key, in segments.

    Rows are numbered over all segments in the order in which these were read or added.

    Args:
        root: The directory of the cache.
        fingerprint: Of the features; its name is that of their directory.
        num_features: Width of a row. Segments of another width are left out as damaged.
        needs_disk: Whether rows that cannot be written raise a `NotKeptError`, instead of a warning
            and staying in memory.
    """

    def __init__(
        self, root: Path, fingerprint: Fingerprint, num_features: int, *, needs_disk: bool = False
    ) -> None:
        self.directory = root / fingerprint.name
        self.fingerprint = fingerprint
        self.num_features = num_features
        self.needs_disk = needs_disk
        #: The number of each row, by its key.
        self.rows: dict[bytes, int] = {}
        self.is_on_disk = True
        self._segments: list[Tensor] = []
        self._starts: list[int] = [0]
        self._read: set[Path] = set()
        self._waiting: dict[bytes, Tensor] = {}
        self._num_expected = 0
        self._written_at = time.monotonic()
        self._is_held = False
        self.reload()

    def __contains__(self, key: bytes) -> bool:
        return key in self.rows or key in self._waiting

    def reload(self) -> None:
        """Read the segments that were written since, by other processes too."""
        try:
            self._hold()
            found = segment_paths(self.directory)
        except OSError as error:  # Not to be entered, or lost by a network file system.
            log.warning("'%s' cannot be read: %s.", self.directory, error.strerror)
            return
        with contextlib.suppress(OSError):  # It may belong to someone else.
            os.utime(self.directory / FACTS_FILE)  # The time of the last use.
        for path in found:
            if path not in self._read:
                self._read.add(path)
                self._take(path)

    def _take(self, path: Path) -> None:
        """Take the rows of a segment, if it is sound."""
        try:
            segment = read_segment(path)
        except FileNotFoundError:  # Packed into another one, which is read at the next time.
            return
        except DamagedSegmentError as error:
            log.warning("%s Its features are computed again.", error)
            return
        except OSError as error:
            message = "'%s' cannot be read: %s. Its features are computed again."
            log.warning(message, path, error.strerror)
            return
        if segment.features.shape[1] != self.num_features:
            log.warning("'%s' has rows of another width: it is left out.", path)
            return
        self._append([key.tobytes() for key in segment.keys.numpy()], segment.features)

    def expect(self, num_rows: int) -> None:
        """Say how many rows may follow; disk space is looked for when the first one comes."""
        self._num_expected = num_rows

    def add(self, keys: Sequence[bytes], features: Tensor) -> None:
        """Take rows ``(n, num_features)`` of new keys; they are written by the segment."""
        if self._num_expected:
            self._check_space(self._num_expected * (features[0].nbytes + KEY_BYTES))
            self._num_expected = 0
        if not self._waiting:
            self._written_at = time.monotonic()
        self._waiting |= zip(keys, features, strict=True)
        is_large = len(self._waiting) * features[0].nbytes >= _SEGMENT_BYTES
        if is_large or time.monotonic() - self._written_at > _SEGMENT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits, or keep it in memory and say so where that fails."""
        if not self._waiting:
            return
        keys, features = list(self._waiting), torch.stack(list(self._waiting.values()))
        self._waiting = {}
        if self.is_on_disk:
            try:
                features = self._write(keys, features)
            except (OSError, DamagedSegmentError) as error:
                self._go_without(getattr(error, "strerror", None) or str(error))
        self._append(keys, features)

    def select(self, rows: NDArray[np.int64]) -> Tensor:
        """Return rows by number, ``(n, num_features)``, in 32 bits.

        They are not copied where they follow each other in one segment of 32 bits: do not write
        into them.
        """
        segments = np.searchsorted(self._starts, rows, side="right") - 1
        in_order = np.array_equal(rows[1:], rows[:-1] + 1)
        if len(rows) and in_order and segments[0] == segments[-1]:
            number = int(segments[0])
            first = int(rows[0]) - self._starts[number]
            return self._segments[number][first : first + len(rows)].float()
        selected = torch.empty(len(rows), self.num_features)
        for number in np.unique(segments):
            (places,) = np.nonzero(segments == number)
            inside = torch.from_numpy(rows[places] - self._starts[number])
            selected[torch.from_numpy(places)] = self._segments[number][inside].float()
        return selected

    def _check_space(self, num_bytes: int) -> None:
        try:
            places = (self.directory, *self.directory.parents)
            free = shutil.disk_usage(next(path for path in places if path.exists())).free
        except OSError:  # Writing says what is wrong.
            return
        log.info(
            f"features: {self._num_expected:,} rows to compute, at most {decimal(num_bytes)} in "
            f"'{self.directory}' ({decimal(free)} free)"
        )
        if free < num_bytes:
            self._go_without(os.strerror(errno.ENOSPC))

    def _write(self, keys: Sequence[bytes], features: Tensor) -> Tensor:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._hold()
        if not (self.directory / FACTS_FILE).exists():
            facts = json.dumps(self.fingerprint.facts, indent=1, sort_keys=True)
            write_whole(self.directory / FACTS_FILE, facts, sync=True)
        table = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8)
        path = write_segment(self.directory, table.view(-1, KEY_BYTES), [features])
        self._read.add(path)
        return read_segment(path).features  # From disk, so that memory does not grow.

    def _append(self, keys: Sequence[bytes], features: Tensor) -> None:
        start = self._starts[-1]
        for number, key in enumerate(keys):
            self.rows.setdefault(key, start + number)
        self._segments.append(features)
        self._starts.append(start + len(keys))

    def _go_without(self, reason: str) -> None:
        self.is_on_disk = False
        if self.needs_disk:
            raise NotKeptError(
                f"activations cannot be kept in '{self.directory}': {reason}. Free some disk "
                "(tltool features prune), or name another directory in TLTOOL_CACHE"
            )
        log.warning(
            f"Features cannot be kept in '{self.directory}': {reason}. They stay in memory, and "
            "the next run computes them again. Free some disk (tltool features prune), or name "
            "another directory in TLTOOL_CACHE."
        )

    def _hold(self) -> None:
        """Lock the directory, shared with others, against being pruned while this store is used."""
        if not self._is_held and self.directory.is_dir():
            weakref.finalize(self, lock_directory(self.directory).close)
            self._is_held = True
