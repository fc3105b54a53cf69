"""Does fine-tuning pay? Probes, strategies and other tools on ten sets, with paired differences.

The sets are ants and bees, brain MRI, solar cells (by their defects, and by their kind), digits and
Fashion-MNIST, capped at 1,000 training images, and two of them at 10 and 50 images a class.
`--sets digits_10 solar_50` are further ones, on which no default was chosen. All methods read the
same files and report on validation images that choose nothing. Each cell (set, method, seed) is a
process of its own, timed as a whole, with an empty cache of features. Results are kept in
runs/benchmark/transfer under a fingerprint of the images, and a later call resumes there; to
measure a cell again, delete its file. A method that fails is reported at the end, and the others go
on.

A method may carry options of `tltool fit` behind a plus: `LastBlocks+data.augmentation=crop`.
`all`, `strategies`, `probes`, `others`, `augmentations` and `preprocessing` are several methods.

Run: python scripts/benchmark/transfer.py run --folders hymenoptera=DIR brain_mri=DIR
     python scripts/benchmark/transfer.py run --methods probe fit reference --seeds 1 2
     python scripts/benchmark/transfer.py print
     python scripts/benchmark/transfer.py print --methods augmentations --first augmentations
         --others LastBlocks
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from image_sets import SETS, TEN_SETS, fingerprint, make_set
from results import FOLDER, Row
from transfer_methods import BASES, FIT, GROUPS, Cell, measure, seeds_of
from transfer_results import (
    correct_of,
    kept_result,
    load_results,
    minutes_left,
    path_of,
)
from transfer_table import COMPARED, print_tables

RESULTS = FOLDER / "transfer"


def main() -> int:
    """Measure what is missing, or print what is there."""
    parser = make_parser()
    parser.add_argument("--first", nargs="+", default=[FIT], help="methods that are compared")
    parser.add_argument("--others", nargs="+", default=COMPARED, help="with these")
    parser.add_argument("verb", choices=("make", "run", "print"), help="sets, results or tables")
    parser.add_argument("--methods", nargs="+", default=["all"], metavar="METHOD")
    args = parser.parse_args()
    methods = methods_of(args.methods)
    folders = folders_of(args)
    fingerprints = {name: fingerprint(folder) for name, folder in folders.items()}
    for name, found in fingerprints.items():
        print(f"{name}: {found}", file=sys.stderr)
    cells = [
        Cell(name, method, seed, args.backbone, args.img_size)
        for name in folders
        for method in methods
        for seed in seeds_of(method, args.seeds)
    ]
    failed = measure_all(cells, folders, fingerprints) if args.verb == "run" else []
    if args.verb != "make":
        print_tables(
            load_results(cells, fingerprints, RESULTS), methods_of(args.first), args.others
        )
    return 1 if failed else 0


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of the options that say which cells."""
    main_module = sys.modules["__main__"].__doc__ or ""
    parser = argparse.ArgumentParser(description=main_module.partition("\n")[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(TEN_SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--img_size", type=int, default=160)
    parser.add_argument(
        "--folders",
        nargs="+",
        default=[],
        metavar="NAME=DIR",
        help="where hymenoptera and brain_mri lie (with train and val), and the files of fashion; "
        "needed until their sets are made",
    )
    return parser


def folders_of(args: argparse.Namespace) -> dict[str, Path]:
    """Return the folder of each set; it is made if it is not there."""
    given = {name: Path(path) for name, _, path in (each.partition("=") for each in args.folders)}
    return {name: make_set(name, given, FOLDER / "data") for name in args.sets}


def methods_of(names: Iterable[str]) -> list[str]:
    """Return the methods that names stand for, each once.

    Raises:
        SystemExit: If a name is none of a method.
    """
    methods = [method for name in names for method in GROUPS.get(name, (name,))]
    for method in methods:
        if method.split("+")[0] not in BASES:
            sys.exit(f"Unknown method {method!r}. Choose from: {', '.join((*GROUPS, *BASES))}.")
    return list(dict.fromkeys(methods))


def measure_all(
    cells: Sequence[Cell],
    folders: Mapping[str, Path],
    fingerprints: Mapping[str, str],
    results: Path | None = None,
) -> list[Cell]:
    """Measure what is missing, one after the other, and return the cells that failed.

    Args:
        cells: All of them.
        folders: The images of each set.
        fingerprints: Of these.
        results: Where results are kept; ``None`` for the place of this script.
    """
    results = results or RESULTS
    paths = {cell: path_of(cell, fingerprints[cell.image_set], results) for cell in cells}
    todo = [cell for cell in cells if not paths[cell].is_file()]
    failed = []
    for number, cell in enumerate(todo, start=1):
        left = minutes_left(todo[number - 1 :], load_results(cells, fingerprints, results))
        words = "" if left is None else f", about {left:.0f} minutes left"
        _say(f"[{number}/{len(todo)}{words}] {cell.image_set} {cell.method} seed {cell.seed}")
        try:
            row = kept_result(paths[cell], partial(measured, cell, folders[cell.image_set]))
        except subprocess.CalledProcessError as error:
            failed.append(cell)
            _say(f"{error.stderr}\n    failed")
            continue
        _say(f"    {correct_of(row).float().mean():.3f} in {row['minutes']:.1f} minutes")
    for cell in failed:
        _say(f"failed: {cell.image_set} {cell.method} seed {cell.seed}")
    return failed


def measured(cell: Cell, folder: Path) -> Row:
    """Return a new result with the commit that it is of."""
    return {**measure(cell, folder), "commit": commit()}


def commit() -> str:
    """Return the commit of the working tree, with ``-dirty`` where it has other changes."""
    command = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    return subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=here
    ).stdout.strip()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
