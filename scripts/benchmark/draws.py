"""Which setting? Methods on draws of the training images of transfer.py's sets.

Some of the training images of a set train, and up to 600 others of them report, so that what is
chosen here was not chosen on the images on which transfer.py reports. Each cell is a whole process
with an empty cache of features; results are kept under a fingerprint of the images, and a later
call resumes there. Slices of one brain and cells of one module may be on both sides.

Run: python scripts/benchmark/draws.py --seeds 0 1 --first fit+data.tuning_fraction=0 --others fit
     python scripts/benchmark/draws.py --methods LoRA LoRA+finetuning.adapter_lr_scale=1
         --first LoRA --others LoRA+finetuning.adapter_lr_scale=1
"""

import sys
from pathlib import Path

from image_sets import NUM_VAL, Item, drawn, fingerprint, write_set
from results import FOLDER
from transfer import folders_of, make_parser, measure_all, methods_of
from transfer_methods import FIT, PROBES, Cell, seeds_of
from transfer_results import load_results
from transfer_table import print_tables

SETS = ("brain_mri", "solar", "solar_kind", "digits", "fashion")


def main() -> int:
    """Measure what is missing, and print the tables."""
    parser = make_parser()
    parser.set_defaults(sets=SETS)
    parser.add_argument("--num_train", type=int, default=500, help="images that train")
    methods = [PROBES[0], FIT, f"{FIT}+data.tuning_fraction=0"]
    parser.add_argument("--methods", nargs="+", default=methods, metavar="METHOD")
    parser.add_argument("--first", nargs="+", default=[FIT], help="methods that are compared")
    parser.add_argument("--others", nargs="+", default=[PROBES[0]], help="with these")
    args = parser.parse_args()
    folders = {name: redrawn(at, args.num_train) for name, at in folders_of(args).items()}
    fingerprints = {name: fingerprint(folder) for name, folder in folders.items()}
    cells = [
        Cell(name, method, seed, args.backbone, args.img_size)
        for name in folders
        for method in methods_of(args.methods)
        for seed in seeds_of(method, args.seeds)
    ]
    results = FOLDER / f"draws_{args.num_train}"
    failed = measure_all(cells, folders, fingerprints, results)
    found = load_results(cells, fingerprints, results)
    print_tables(found, methods_of(args.first), args.others)
    return 1 if failed else 0


def redrawn(source: Path, num_train: int) -> Path:
    """Return a set of a set's training images: of them so many train, and others report."""
    folder = FOLDER / f"data_draws_{num_train}" / source.name
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


if __name__ == "__main__":
    sys.exit(main())
