"""`tltool features`: compute, list, verify, prune and pack the features of frozen backbones."""

import argparse
import difflib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from tltool.features.cache import cache_root
from tltool.features.cache_maintenance import (
    CachedSet,
    choose_to_prune,
    find_cached,
    list_cached,
    pack_cached,
    remove_cached,
)
from tltool.features.directory_lock import InUseError
from tltool.features.file_hashes import remove_file_hashes
from tltool.features.segments import DamagedSegmentError

ACTIONS = {
    "compute": "compute the features of your images, from the configuration of fit",
    "verify": "hash all images and features anew, and compute some rows again",
    "list": "what there is, for which backbone, how large, and when it was last used",
    "prune": "delete features by name, age or size",
    "pack": "put the files of each set of features into one",
}


def main(argv: Sequence[str]) -> int:
    """Run ``tltool features ACTION``."""
    action, arguments = (argv[1] if len(argv) > 1 else "--help"), argv[2:]
    if action in {"-h", "--help"}:
        print(help_text())
        return 0
    if action not in ACTIONS:
        near = difflib.get_close_matches(action, ACTIONS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        print(f"error: unknown action {action!r}.{hint} See tltool features.", file=sys.stderr)
        return 2
    if action in {"compute", "verify"}:
        # Here, for what they need takes seconds to import.
        from tltool.cli import features_compute

        return features_compute.main(action, arguments)
    options = _parser(action).parse_args(arguments)
    root = cache_root(options.cache)
    if action == "list":
        print_list(root)
        return 0
    return prune(root, options) if action == "prune" else pack(root, options.names)


def help_text() -> str:
    """Return the overview of the actions."""
    lines = ["usage: tltool features ACTION [options]    (tltool features ACTION --help)", ""]
    lines += [f"  {name:<10}{summary}" for name, summary in ACTIONS.items()]
    lines += ["", "start here: tltool features compute --data.root images"]
    return "\n".join(lines)


def _parser(action: str) -> argparse.ArgumentParser:
    summary = ACTIONS[action]
    description = f"{summary[0].upper()}{summary[1:]}."
    parser = argparse.ArgumentParser(f"tltool features {action}", description=description)
    parser.add_argument("--cache", help="the folder; TLTOOL_CACHE or ~/.cache/tltool/features")
    if action != "list":
        parser.add_argument("names", nargs="*", help="beginnings of names of tltool features list")
    if action == "prune":
        parser.add_argument("--older_than", type=float, help="days since the last use")
        parser.add_argument("--max_size", type=float, help="GB for the latest used; the rest goes")
        parser.add_argument("--all", action="store_true", help="delete everything")
    return parser


def print_list(root: Path) -> None:
    """Print all features in a cache."""
    cached = list_cached(root)
    if not cached:
        print(f"No features in '{root}'. Compute some: tltool features compute --data.root images")
        return
    table = Table("name", "backbone", "pixels", "precision", "files", "size", "last used")
    for entry in cached:
        backbone, preprocessing = entry.facts["backbone"], entry.facts["preprocessing"]
        table.add_row(
            entry.directory.name[:8],
            str(backbone.get("name", backbone["class"])),
            str(preprocessing.get("input_size", ["?"])[-1]),
            f"{entry.facts['precision']} {entry.facts['device']}",
            str(entry.num_segments),
            decimal(entry.num_bytes),
            time.strftime("%Y-%m-%d", time.localtime(entry.used_at)),
        )
    Console().print(table)
    print(f"{decimal(sum(entry.num_bytes for entry in cached))} in '{root}'")


def prune(root: Path, options: argparse.Namespace) -> int:
    """Delete what the options name; return 1 if something is in use."""
    chosen = [find_cached(root, name) for name in options.names]
    if options.all:
        chosen = list_cached(root)
        remove_file_hashes(root)
    elif options.older_than is not None or options.max_size is not None:
        max_bytes = None if options.max_size is None else options.max_size * 1e9
        cached = list_cached(root)
        chosen += choose_to_prune(cached, older_than=options.older_than, max_bytes=max_bytes)
    elif not chosen:
        raise ValueError(
            "Nothing says what to delete. Give names of tltool features list, --older_than DAYS, "
            "--max_size GB, or --all."
        )
    return _for_each(chosen, remove_cached, "deleted")


def pack(root: Path, names: Sequence[str]) -> int:
    """Pack the features of these names, or all; return 1 if something is in use."""
    chosen = [find_cached(root, name) for name in names] or list_cached(root)
    return _for_each(chosen, pack_cached, "packed")


def _for_each(chosen: Iterable[CachedSet], action: Callable[[CachedSet], object], done: str) -> int:
    status = 0
    for cached in {cached.directory: cached for cached in chosen}.values():
        name = cached.directory.name[:8]
        try:
            action(cached)
            print(f"{done:<9} {name}  {decimal(cached.num_bytes)}")
        except (InUseError, DamagedSegmentError) as error:
            status = 1
            print(f"left      {name}  {error}")
        except OSError as error:
            status = 1
            print(f"left      {name}  '{cached.directory}' cannot be changed: {error.strerror}.")
    return status
