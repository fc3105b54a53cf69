"""Maintenance of the feature cache: list what is in it, remove some of it, pack it."""

import contextlib
import json
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tltool.features.directory_lock import lock_directory
from tltool.features.segments import KEY_BYTES, Segment, read_segment, segment_paths, write_segment
from tltool.features.store import FACTS_FILE

log = logging.getLogger(__name__)

_DAY = 86400.0
_FACTS = {"backbone", "preprocessing", "precision", "device"}
_REMOVED = ".removed"  # How the name of what is being deleted ends.


class CachedSet(NamedTuple):
    """The features of one fingerprint on disk.

    Attributes:
        directory: Where they are; its name is that of the fingerprint.
        facts: What is behind the fingerprint; empty if their file is damaged.
        num_segments: Number of files.
        num_bytes: Size of the files.
        used_at: Time of the last use, in seconds since 1970.
    """

    directory: Path
    facts: dict[str, Any]
    num_segments: int
    num_bytes: int
    used_at: float


def list_cached(root: Path) -> list[CachedSet]:
    """Return all features in a cache, the latest used first.

    Example:
        >>> list_cached(Path("no such directory"))
        []
    """
    found = []
    for path in root.glob(f"*/{FACTS_FILE}"):
        segments = segment_paths(path.parent)
        facts = _read_facts(path)
        size = sum(segment.stat().st_size for segment in segments)
        found.append(CachedSet(path.parent, facts, len(segments), size, path.stat().st_mtime))
    return sorted(found, key=lambda cached: -cached.used_at)


def _read_facts(path: Path) -> dict[str, Any]:
    facts: Any = None
    with contextlib.suppress(ValueError):
        facts = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(facts, dict) and facts.keys() >= _FACTS:
        return facts
    message = (
        "'%s' is damaged, so what its features are of is unknown. They are found and used as "
        "before; tltool features prune %s deletes them."
    )
    log.warning(message, path, path.parent.name[:8])
    return {}


def find_cached(root: Path, name: str) -> CachedSet:
    """Return the features of a fingerprint by the beginning of its name.

    Raises:
        ValueError: If none begins so, or several do.
    """
    found = list_cached(root)
    matches = [cached for cached in found if cached.directory.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    names = ", ".join(cached.directory.name[:8] for cached in matches or found) or "none"
    problem = "Several features begin" if matches else "No features begin"
    raise ValueError(f"{problem} with {name!r} in '{root}'. Choose one of: {names}.")


def choose_to_prune(
    cached: Sequence[CachedSet], *, older_than: float | None = None, max_bytes: float | None = None
) -> list[CachedSet]:
    """Return what is to go: what was not used for long, then the least recently used.

    Args:
        cached: What there is, the latest used first.
        older_than: Days since the last use after which features go.
        max_bytes: What the rest may take together.

    Example:
        >>> used = {"b": time.time(), "a": 0}
        >>> sets = [CachedSet(Path(name), {}, 1, 10, when) for name, when in used.items()]
        >>> [cached.directory.name for cached in choose_to_prune(sets, older_than=5)]
        ['a']
        >>> [cached.directory.name for cached in choose_to_prune(sets, max_bytes=15)]
        ['a']
    """
    chosen, kept_bytes = [], 0
    for entry in cached:
        is_old = older_than is not None and time.time() - entry.used_at > older_than * _DAY
        is_too_much = max_bytes is not None and kept_bytes + entry.num_bytes > max_bytes
        if is_old or is_too_much:
            chosen.append(entry)
        else:
            kept_bytes += entry.num_bytes
    return chosen


def remove_cached(cached: CachedSet) -> None:
    """Delete features from disk, in one step for other processes.

    Raises:
        InUseError: If another process uses them.
    """
    removed = cached.directory.with_name(f".{cached.directory.name}{_REMOVED}")
    with lock_directory(cached.directory, alone=True):
        shutil.rmtree(removed, ignore_errors=True)  # Of a run that was killed here.
        cached.directory.rename(removed)
        shutil.rmtree(removed)


def remove_leftovers(root: Path) -> None:
    """Delete what runs that were killed in `remove_cached` have left; nobody reads it any more."""
    for path in root.glob(f".*{_REMOVED}"):
        shutil.rmtree(path, ignore_errors=True)


def pack_cached(cached: CachedSet) -> int:
    """Put all segments into one, and return the number of rows.

    Rows that several processes have computed are kept once. The old segments go when the new one is
    on disk.

    Raises:
        InUseError: If another process uses the features.
        DamagedSegmentError: If a segment is damaged.
        OSError: If the disk is full; then nothing has changed.
    """
    with lock_directory(cached.directory, alone=True):
        paths = segment_paths(cached.directory)
        if not paths:
            return 0
        keys, rows = _distinct([read_segment(path) for path in paths])
        if len(paths) > 1:
            write_segment(cached.directory, keys, rows)
            for path in paths:
                path.unlink()
        return len(keys)


def _distinct(segments: Sequence[Segment]) -> tuple[Tensor, list[Tensor]]:
    """Return keys and features of segments, each key once."""
    keys = torch.cat([segment.keys for segment in segments])
    _, firsts = np.unique(keys.numpy().view(f"V{KEY_BYTES}"), return_index=True)
    is_first = torch.zeros(len(keys), dtype=torch.bool)
    is_first[torch.from_numpy(firsts)] = True
    kept = torch.split(is_first, [len(segment.keys) for segment in segments])
    # Mapped as it is where all stay, so that memory does not grow.
    rows = [s.features if k.all() else s.features[k] for s, k in zip(segments, kept, strict=True)]
    return keys[is_first], rows
