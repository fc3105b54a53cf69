"""`tltool features`: compute, search, list, verify, prune and pack features of backbones."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from tltool._lookup import lookup
from tltool._plain_text import pixel_size, plain_console
from tltool.cli.help_page import NAMES
from tltool.cli.signature_options import run_function
from tltool.features.cache import cache_root
from tltool.features.cache_maintenance import (
    CachedSet,
    choose_to_prune,
    find_cached,
    list_cached,
    pack_cached,
    remove_cached,
    remove_leftovers,
)
from tltool.features.directory_lock import InUseError
from tltool.features.file_hashes import remove_file_hashes
from tltool.features.segments import DamagedSegmentError
from tltool.reporting.tables import FactTable, rich_table

ACTIONS = NAMES["features"]


def main(argv: Sequence[str]) -> int:
    """Run ``tltool features ACTION``."""
    action, words = (argv[1] if len(argv) > 1 else "--help"), argv[2:]
    if action in {"-h", "--help"}:
        print(help_text())
        return 0
    lookup(ACTIONS, action, kind="action")
    if action in {"compute", "verify"}:
        # Here, for what they need takes seconds to import.
        from tltool.cli import features_compute

        return features_compute.main(action, words)
    if action == "neighbors":
        from tltool.cli import features_neighbors

        return features_neighbors.main(words)
    functions: dict[str, Callable[..., int | None]]
    functions = {"list": list_features, "prune": prune, "pack": pack}
    return run_function(f"features {action}", functions[action], words)


def help_text() -> str:
    """Return the overview of the actions."""
    lines = ["usage: tltool features ACTION [options]    (tltool features ACTION --help)", ""]
    lines += [f"  {name:<10}{summary}" for name, summary in ACTIONS.items()]
    lines += ["", "start here: tltool features compute --data.root images"]
    return "\n".join(lines)


def list_features(*, cache: Path | None = None) -> None:
    """List what there is, for which backbone, how large, and when it was last used.

    Args:
        cache: The folder; TLTOOL_CACHE or ~/.cache/tltool/features.
    """
    root = cache_root(cache)
    cached = list_cached(root)
    if not cached:
        print(f"No features in '{root}'. Compute some: tltool features compute --data.root images")
        return
    rows = []
    for entry in cached:
        used_at = time.strftime("%Y-%m-%d", time.localtime(entry.used_at))
        size = decimal(entry.num_bytes)
        described = _described(entry.facts)
        rows.append([entry.directory.name[:8], *described, entry.num_segments, size, used_at])
    columns = ("name", "backbone", "pixels", "precision", "files", "size", "last used")
    plain_console().print(rich_table(FactTable(columns, rows)))
    print(f"{decimal(sum(entry.num_bytes for entry in cached))} in '{root}'")


def _described(facts: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return backbone, pixels and precision of features, by the facts behind their fingerprint."""
    if not facts:
        return "unknown", "unknown", "unknown"
    backbone = facts["backbone"]
    pixels = pixel_size(facts["preprocessing"].get("input_size", ())) or "?"
    precision = f"{facts['precision']} {facts['device']}"
    return backbone.get("name", backbone["class"]), pixels, precision


def prune(
    names: list[str] = [],  # noqa: B006  # never changed
    *,
    cache: Path | None = None,
    older_than: float | None = None,
    max_size: float | None = None,
    all: bool = False,  # noqa: A002  # the name of the flag
) -> int:
    """Delete features by name, age or size; those in use are left.

    Args:
        names: Beginnings of names of tltool features list.
        cache: The folder; TLTOOL_CACHE or ~/.cache/tltool/features.
        older_than: Days since the last use.
        max_size: GB for the latest used; the rest goes.
        all: Delete everything.
    """
    for name, value in (("older_than", older_than), ("max_size", max_size)):
        if value is not None and not value >= 0:
            raise ValueError(
                f"--{name} must be at least 0, got {value:g}; --all deletes everything."
            )
    root = cache_root(cache)
    remove_leftovers(root)
    chosen = [find_cached(root, name) for name in names]
    if all:
        chosen = list_cached(root)
        remove_file_hashes(root)
    elif older_than is not None or max_size is not None:
        max_bytes = None if max_size is None else max_size * 1e9
        chosen += choose_to_prune(list_cached(root), older_than=older_than, max_bytes=max_bytes)
    elif not chosen:
        raise ValueError(
            "Nothing says what to delete. Give names of tltool features list, --older_than DAYS, "
            "--max_size GB, or --all."
        )
    return _for_each(chosen, remove_cached, "deleted")


def pack(names: list[str] = [], *, cache: Path | None = None) -> int:  # noqa: B006  # as above
    """Put the files of each set of features into one.

    Args:
        names: Beginnings of names of tltool features list; all if there are none.
        cache: The folder; TLTOOL_CACHE or ~/.cache/tltool/features.
    """
    root = cache_root(cache)
    chosen = [find_cached(root, name) for name in names] or list_cached(root)
    return _for_each(chosen, pack_cached, "packed")


def _for_each(chosen: Sequence[CachedSet], action: Callable[[CachedSet], object], done: str) -> int:
    """Do something to each set; return 1 if any could not be changed."""
    status = 0
    for cached in {cached.directory: cached for cached in chosen}.values():
        name = cached.directory.name[:8]
        try:
            action(cached)
            print(f"{done:<9} {name}  {decimal(cached.num_bytes)}")
            continue
        except (InUseError, DamagedSegmentError) as error:
            why = str(error)
        except OSError as error:
            why = f"'{cached.directory}' cannot be changed: {error.strerror}."
        status = 1
        print(f"left      {name}  {why}")
    return status
