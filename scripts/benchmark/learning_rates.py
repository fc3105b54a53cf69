"""Which learning rate? The regret of each strategy's default, and of `tltool plan --lr_range`.

Each strategy fine-tunes on small draws of the sets of transfer.py (200 images train and 300 report,
5 epochs, 160 px) at five learning rates: its default, and a third, a ninth, three and nine times of
it. `--epochs` and `--factors` are for others, and `--draws` for images that report in no other
table. The range test suggests a rate with the same images; its accuracy is interpolated between
those of the two nearest rates, or that of the nearest one beyond them (`edge`). Regret is the best
accuracy of the five less that of a choice; as the best one is chosen on the same images, all
regrets are too large by the same amount. One strategy and one set take 3 to 8 minutes of one core.
Results are kept under a fingerprint of the images, and a later call resumes there; `--print` prints
the sets that are complete and measures nothing.

Run: python scripts/benchmark/learning_rates.py LastBlocks LPFT --folders hymenoptera=DIR
     python scripts/benchmark/learning_rates.py LoRA --option finetuning.adapter_lr_scale --center 3
     python scripts/benchmark/learning_rates.py LPFT --draws --epochs 10 --factors .33 1
"""

import argparse
import bisect
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from draws import SETS as DRAWN_SETS
from draws import redrawn
from image_sets import fingerprint, make_set
from results import FOLDER, Row
from transfer import commit, folders_of, make_parser
from transfer_methods import STRATEGY_NAMES, Cell, common_flags
from transfer_results import kept_result, path_of

from tltool.reporting.run_record import read_run

FACTORS = (1 / 9, 1 / 3, 1.0, 3.0, 9.0)
NUM_TRAIN, NUM_VAL, EPOCHS = 200, 300, 5
SETS = ("hymenoptera", "brain_mri", "solar", "digits", "fashion")
LR = "optimizer.lr"
LR_RANGE = "lr_range"
RESULTS = FOLDER / "learning_rates"


class Judged(NamedTuple):
    """The rates of a strategy on one set.

    Attributes:
        factors: On the default.
        accuracies: At each of them.
        suggested: What the range test suggests, as a factor on the default; ``None`` without one.
        minutes: What all of it took.
    """

    factors: Sequence[float]
    accuracies: Sequence[float]
    suggested: float | None
    minutes: float


def main() -> None:
    """Measure what is missing, and print a table for each strategy."""
    parser = make_parser()
    parser.set_defaults(sets=None)
    parser.add_argument("strategies", nargs="+", choices=STRATEGY_NAMES)
    parser.add_argument("--option", default=LR, help="of tltool fit, that is tried")
    parser.add_argument("--center", type=float, default=1e-3, help="its default")
    parser.add_argument("--factors", nargs="+", type=float, default=FACTORS, help="on it")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--draws", action="store_true", help="on the images of draws.py")
    parser.add_argument("--print", action="store_true", help="measure nothing")
    args = parser.parse_args()
    args.factors = sorted(args.factors)
    args.sets = args.sets or (DRAWN_SETS if args.draws else SETS)
    folders = small_sets(args)
    for strategy in args.strategies:
        judged: dict[str, Judged] = {}
        for name, folder in folders.items():
            cells = cells_of(args, strategy, name)
            if not args.print:
                measure_all(cells, folder, args.epochs)
            found = judge(cells, fingerprint(folder), args.center, args.factors)
            if found is not None:
                judged[name] = found
        print_regrets(f"{strategy}, {args.option}", args.center, judged)


def small_sets(args: argparse.Namespace) -> dict[str, Path]:
    """Return the folder of each set, of `NUM_TRAIN` images that train; it is made if need be."""
    if args.draws:
        return {name: redrawn(folder, NUM_TRAIN) for name, folder in folders_of(args).items()}
    given = dict(pair.split("=", 1) for pair in args.folders)
    sources = {source: Path(path) for source, path in given.items()}
    place = FOLDER / "data_200"
    return {
        name: make_set(name, sources, place, num_train=NUM_TRAIN, num_val=NUM_VAL)
        for name in args.sets
    }


def cells_of(args: argparse.Namespace, strategy: str, image_set: str) -> list[Cell]:
    """Return what is measured of a strategy on a set: the rates, and where it can, the test."""
    make = partial(Cell, image_set, backbone=args.backbone, img_size=args.img_size)
    start = f"{strategy}+trainer.max_epochs={args.epochs}"
    methods = [f"{start}+{args.option}={factor * args.center:.3g}" for factor in args.factors]
    if args.option == LR and not args.draws:
        methods.append(f"{start}+{LR_RANGE}")
    return [make(method, args.seeds[0]) for method in methods]


def measure_all(cells: Sequence[Cell], folder: Path, epochs: int) -> None:
    """Measure what is missing; what frozen layers compute is shared by the rates.

    Raises:
        SystemExit: If a run fails, with what it wrote; what was measured is kept.
    """
    found = fingerprint(folder)
    with tempfile.TemporaryDirectory() as cache:
        for cell in cells:
            is_test = cell.method.endswith(LR_RANGE)
            measure = suggested if is_test else partial(trained, epochs=epochs)
            try:
                kept_result(
                    path_of(cell, found, RESULTS), partial(measure, cell, folder, Path(cache))
                )
            except subprocess.CalledProcessError as error:
                sys.exit(f"{error.stderr}\nfailed: {cell.image_set} {cell.method}")


def trained(cell: Cell, folder: Path, cache: Path, *, epochs: int) -> Row:
    """Return the accuracy of the last epoch of ``tltool fit``, and the minutes of the process."""
    with tempfile.TemporaryDirectory() as runs:
        words = [*common_flags(cell, folder), f"--runs_dir={runs}", "--name=run"]
        minutes, _ = _timed("fit", *words, f"--trainer.check_val_every_n_epoch={epochs}", at=cache)
        (run_dir,) = (Path(runs) / "run").iterdir()
        accuracy = read_run(run_dir).metrics["val/accuracy"][-1][1]
    return _told(cell, {"accuracy": accuracy, "minutes": minutes, "commit": commit()})


def suggested(cell: Cell, folder: Path, cache: Path) -> Row:
    """Return the learning rate that ``tltool plan --lr_range`` suggests, as ``lr``."""
    minutes, output = _timed("plan", *common_flags(cell, folder), at=cache)
    found = re.search(r"--optimizer\.lr\s+([\d.e+-]+\d)", output)
    assert found is not None, output  # noqa: S101  # it prints one or fails
    return _told(cell, {"lr": float(found[1]), "minutes": minutes, "commit": commit()})


def _timed(command: str, *flags: str, at: Path) -> tuple[float, str]:
    """Return the minutes of a command of tltool, and what it printed."""
    start = time.perf_counter()
    words = [sys.executable, "-m", "tltool", command, *flags]
    environment = os.environ | {"TLTOOL_CACHE": str(at)}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    return (time.perf_counter() - start) / 60, done.stdout


def _told(cell: Cell, row: Row) -> Row:
    print(f"{cell.image_set} {cell.method}: {row}", file=sys.stderr, flush=True)
    return row


def judge(
    cells: Sequence[Cell], found: str, center: float, factors: Sequence[float]
) -> Judged | None:
    """Return what is known of a strategy on a set; ``None`` while something is missing."""
    paths = [path_of(cell, found, RESULTS) for cell in cells]
    if not all(path.is_file() for path in paths):
        return None
    rows = [kept_result(path, dict) for path in paths]
    accuracies = [row["accuracy"] for row in rows if "accuracy" in row]
    rates = [row["lr"] / center for row in rows if "lr" in row]
    minutes = sum(row["minutes"] for row in rows)
    return Judged(factors, accuracies, rates[0] if rates else None, minutes)


def interpolated(judged: Judged, factor: float) -> float:
    """Return the accuracy at a factor, between those measured; beyond them that of the edge."""
    factors, accuracies = judged.factors, judged.accuracies
    right = bisect.bisect_left(factors, factor)
    if right in (0, len(factors)):
        return accuracies[min(right, len(factors) - 1)]
    low, high = factors[right - 1], factors[right]
    share = math.log(factor / low) / math.log(high / low)
    return (1 - share) * accuracies[right - 1] + share * accuracies[right]


def regrets_of(judged: Judged) -> list[float]:
    """Return the regret of each factor and of the suggested rate: the best less its accuracy."""
    best = max(judged.accuracies)
    values = list(judged.accuracies)
    if judged.suggested is not None:
        values.append(interpolated(judged, judged.suggested))
    return [best - value for value in values]


def print_regrets(title: str, center: float, judged: Mapping[str, Judged]) -> None:
    """Print accuracies by set, and the mean regret of each choice with its error over the sets."""
    if not judged:
        print(f"\n{title}: nothing is complete yet.")
        return
    first = next(iter(judged.values()))
    has_test = first.suggested is not None
    heads = [f"{center * factor:.2g}" + " (default)" * (factor == 1) for factor in first.factors]
    heads += ["suggested, at", "minutes"] if has_test else ["minutes"]
    print(f"\n| {title} |", " | ".join(heads), "|")
    print("|---|" + "---|" * len(heads))
    for name, row in judged.items():
        cells = [f"{value:.3f}" for value in row.accuracies]
        if row.suggested is not None:
            edge = "" if row.factors[0] <= row.suggested <= row.factors[-1] else " (edge)"
            accuracy = interpolated(row, row.suggested)
            cells.append(f"{accuracy:.3f}, {center * row.suggested:.2g}{edge}")
        print(f"| {name} |", " | ".join(cells), f"| {row.minutes:.1f} |")
    columns = zip(*map(regrets_of, judged.values()), strict=True)
    regrets = [f"{mean(column):.3f}{_error(column)}" for column in columns]
    print("| mean regret |", " | ".join(regrets), "| |", flush=True)


def _error(values: Sequence[float]) -> str:
    return f" +- {stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""


if __name__ == "__main__":
    main()
