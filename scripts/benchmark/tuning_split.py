"""Is a tuning split worth its images? `tltool fit` with and without, on draws of few images.

The images are training images of the sets of transfer.py: some of them train, others of them
report. So the images on which that script reports choose nothing here. Each cell is a whole process
with an empty cache of features; results are kept under a fingerprint of the images, and a later
call resumes there. With so few images that there is no tuning split nothing would be compared.

Run: python scripts/benchmark/tuning_split.py --num_train 500 --seeds 0 1
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from image_sets import NUM_VAL, SETS, Item, drawn, fingerprint, write_set
from results import FOLDER
from transfer import folders_of, make_parser, measure_all
from transfer_methods import FIT, PROBES, Cell
from transfer_results import Results, correct_of, load_results, over_sets, paired

from tltool.data.datamodules.record_splits import FEWEST_TUNING

NAMES = ("brain_mri", "solar", "solar_kind", "digits", "fashion")
PROBE, OFF = PROBES[0], f"{FIT}+data.tuning_fraction=0"
RESULTS = FOLDER / "tuning_split"
SHARE = 0.2
"""Of the training images that `Auto` lets choose."""


def main() -> int:
    """Measure what is missing, and print a table for each number of training images."""
    parser = make_parser()
    parser.set_defaults(sets=NAMES)
    parser.add_argument("--num_train", nargs="+", type=int, default=[500])
    args = parser.parse_args()
    fewest = math.ceil(FEWEST_TUNING / SHARE)
    if min(args.num_train) < fewest:
        parser.error(f"With fewer than {fewest} images there is no tuning split. Set --num_train.")
    sets = folders_of(args)
    failed: list[Cell] = []
    for number in args.num_train:
        folders = {f"{name}-{number}": redrawn(sets[name], number) for name in sets}
        prints = {name: fingerprint(folder) for name, folder in folders.items()}
        cells = [
            Cell(name, method, seed, args.backbone, args.img_size)
            for name in folders
            for method in (PROBE, FIT, OFF)
            for seed in ([0] if method == PROBE else args.seeds)
        ]
        failed += measure_all(cells, folders, prints, RESULTS)
        print_table(cells, load_results(cells, prints, RESULTS))
    return 1 if failed else 0


def redrawn(source: Path, num_train: int) -> Path:
    """Return a set of a set's training images: of them so many train, and others report."""
    folder = FOLDER / f"data_tuning_{num_train}" / source.name
    if not folder.is_dir():
        items = [
            Item(path.name, path.parent.name, path.resolve())
            for path in sorted((source / "train").glob("*/*"))
        ]
        train = drawn(items, num_train)
        trains = set(train)
        rest = [item for item in items if item not in trains]
        write_set(folder, {"train": train, "val": drawn(rest, NUM_VAL)})
    return folder


def print_table(cells: Sequence[Cell], results: Results) -> None:
    """Print the accuracies of the sets that are complete, and what the split costs them."""
    by_name: dict[str, list[Cell]] = {}
    for cell in cells:
        by_name.setdefault(cell.image_set, []).append(cell)
    complete = {name: own for name, own in by_name.items() if all(map(results.__contains__, own))}
    if not complete:
        print("Nothing is complete yet.")
        return
    print("\n|", " | ".join(["", *complete, "mean"]), "|")
    print("|---|" + "---|" * (len(complete) + 1))
    for method in (PROBE, FIT, OFF):
        rows = [
            [correct_of(results[cell]).float().mean().item() for cell in of_method(own, method)]
            for own in complete.values()
        ]
        words = [", ".join(f"{value:.3f}" for value in row) for row in rows]
        print(f"| {method} |", " | ".join([*words, f"{mean(map(mean, rows)):.3f}"]), "|")
    costs = {
        name: paired(of_method(own, OFF), of_method(own, FIT), results)
        for name, own in complete.items()
    }
    words = [f"{cost.mean:+.3f} +- {cost.standard_error:.3f}" for cost in costs.values()]
    sources = {name: SETS[name.rpartition("-")[0]].source.partition("_")[0] for name in costs}
    over = over_sets({name: cost.mean for name, cost in costs.items()}, sources)
    low, high = over.interval
    total = f"{over.mean:+.3f} ({low:+.3f} to {high:+.3f})"
    print("| without less with |", " | ".join([*words, total]), "|", flush=True)


def of_method(cells: Sequence[Cell], method: str) -> list[Cell]:
    """Return the cells of one method."""
    return [cell for cell in cells if cell.method == method]


if __name__ == "__main__":
    sys.exit(main())
