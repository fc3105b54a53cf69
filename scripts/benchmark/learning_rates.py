"""Which learning rate? The regret of each strategy's default, and of `tltool plan --lr_range`.

Each strategy fine-tunes on each set of transfer.py at a grid of learning rates, at its default, and
at the one that the range test suggests. Regret is the best accuracy of the grid less that of a
choice; as the best one is chosen on the same images, all regrets are too large by the same amount.
Results are kept with those of transfer.py, and a later call resumes there.

Run: python scripts/benchmark/learning_rates.py LastBlocks LPFT [--sets hymenoptera brain_mri]
     python scripts/benchmark/learning_rates.py LPFT --option finetuning.full_lr_scale --grid .1 1
"""

import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev

from image_sets import fingerprint
from results import kept
from transfer import RESULTS, folders_of, make_parser, measure_all
from transfer_methods import STRATEGY_NAMES, Cell, suggested_lr
from transfer_results import correct_of, load_results

GRID = (1e-4, 3e-4, 1e-3, 3e-3)
LR = "optimizer.lr"
DEFAULT, SUGGESTED = "default", "lr_range"


def main() -> None:
    """Measure what is missing, and print a table for each strategy."""
    parser = make_parser()
    parser.add_argument("strategies", nargs="+", choices=STRATEGY_NAMES)
    parser.add_argument("--grid", nargs="+", type=float, default=GRID)
    parser.add_argument("--option", default=LR, help="of tltool fit, that takes the grid's values")
    args = parser.parse_args()
    folders = folders_of(args)
    fingerprints = {name: fingerprint(folder) for name, folder in folders.items()}
    for strategy in args.strategies:
        accuracies: dict[str, dict[str, float]] = {}
        for name, folder in folders.items():
            make_cell = partial(Cell, name, backbone=args.backbone, img_size=args.img_size)
            methods = {f"{v:g}": f"{strategy}+{args.option}={v:g}" for v in args.grid}
            methods[DEFAULT] = strategy
            if args.option == LR:
                cell = make_cell(strategy, args.seeds[0])
                methods[SUGGESTED] = f"{strategy}+{LR}={suggestion(cell, folder, fingerprints):g}"
            accuracies[name] = {
                choice: accuracy(
                    [make_cell(method, seed) for seed in args.seeds], folders, fingerprints
                )
                for choice, method in methods.items()
            }
        print_regrets(strategy, args.option, accuracies)


def suggestion(cell: Cell, folder: Path, fingerprints: Mapping[str, str]) -> float:
    """Return the learning rate that the range test suggests, kept or new."""
    key = {**cell._asdict(), "fingerprint": fingerprints[cell.image_set]}
    found = kept(RESULTS / "lr_range.jsonl", key, partial(suggested_lr, cell, folder))
    return float(found["lr"])


def accuracy(
    cells: Sequence[Cell], folders: Mapping[str, Path], fingerprints: Mapping[str, str]
) -> float:
    """Return the mean accuracy over the seeds, kept or new."""
    if measure_all(cells, folders, fingerprints):
        sys.exit("Without it there is no regret. What is measured is kept.")
    rows = load_results(cells, fingerprints, RESULTS).values()
    return mean(float(correct_of(row).double().mean()) for row in rows)


def regrets_of(accuracies: Mapping[str, float]) -> dict[str, float]:
    """Return the regret of each choice on one set: the best of the grid less its accuracy.

    A choice that is not of the grid may be better than all of it; its regret is negative then.
    """
    best = max(value for choice, value in accuracies.items() if choice not in (DEFAULT, SUGGESTED))
    return {choice: best - value for choice, value in accuracies.items()}


def print_regrets(
    strategy: str, option: str, accuracies: Mapping[str, Mapping[str, float]]
) -> None:
    """Print accuracies by set, and the mean regret of each choice with its error over the sets."""
    choices = list(next(iter(accuracies.values())))
    print(f"\n| {strategy}, {option} |", " | ".join(choices), "|")
    print("|---|" + "---|" * len(choices))
    for name, row in accuracies.items():
        print(f"| {name} |", " | ".join(f"{row[choice]:.3f}" for choice in choices), "|")
    regrets = [regrets_of(row) for row in accuracies.values()]
    cells = []
    for choice in choices:
        values = [each[choice] for each in regrets]
        error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        cells.append(f"{mean(values):.3f} +- {error:.3f}")
    print("| mean regret |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
