"""Which learning rate? The regret of each strategy's default, and of `tltool plan --lr_range`.

Each strategy fine-tunes on small draws of the sets of transfer.py (200 images train and 300 report,
5 epochs, 160 px) at five learning rates: its default, and a third, a ninth, three and nine times of
it. The range test suggests a rate with the same images; its accuracy is interpolated between those
of the two nearest rates, or that of the nearest one beyond them (`edge`). Regret is the best
accuracy of the five less that of a choice; as the best one is chosen on the same images, all
regrets are too large by the same amount. One strategy and one set take 3 to 8 minutes of one core.
Results are kept under a fingerprint of the images, and a later call resumes there; `--print` prints
the sets that are complete and measures nothing.

Run: python scripts/benchmark/learning_rates.py LastBlocks LPFT --folders hymenoptera=DIR
     python scripts/benchmark/learning_rates.py LPFT --option finetuning.full_lr_scale --center .3
"""

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

from image_sets import fingerprint, make_set
from results import FOLDER, Row
from transfer import commit, make_parser
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
        accuracies: Those of `FACTORS`.
        suggested: What the range test suggests, as a factor on the default; ``None`` without one.
        minutes: What all of it took.
    """

    accuracies: Sequence[float]
    suggested: float | None
    minutes: float


def main() -> None:
    """Measure what is missing, and print a table for each strategy."""
    parser = make_parser()
    parser.set_defaults(sets=SETS)
    parser.add_argument("strategies", nargs="+", choices=STRATEGY_NAMES)
    parser.add_argument("--option", default=LR, help="of tltool fit, that is tried")
    parser.add_argument("--center", type=float, default=1e-3, help="its default")
    parser.add_argument("--print", action="store_true", help="measure nothing")
    args = parser.parse_args()
    given = dict(pair.split("=", 1) for pair in args.folders)
    folders = {
        name: make_set(
            name,
            {source: Path(path) for source, path in given.items()},
            FOLDER / "data_200",
            num_train=NUM_TRAIN,
            num_val=NUM_VAL,
        )
        for name in args.sets
    }
    for strategy in args.strategies:
        judged: dict[str, Judged] = {}
        for name, folder in folders.items():
            cells = cells_of(args, strategy, name)
            if not args.print:
                measure_all(cells, folder)
            found = judge(cells, fingerprint(folder), args.center)
            if found is not None:
                judged[name] = found
        print_regrets(strategy, args.option, args.center, judged)


def cells_of(args: object, strategy: str, image_set: str) -> list[Cell]:
    """Return what is measured of a strategy on a set: the rates, and where it can, the test."""
    given = vars(args)
    option, center, seed = given["option"], given["center"], given["seeds"][0]
    make = partial(Cell, image_set, backbone=given["backbone"], img_size=given["img_size"])
    length = f"trainer.max_epochs={EPOCHS}"
    methods = [f"{strategy}+{length}+{option}={factor * center:.3g}" for factor in FACTORS]
    if option == LR:
        methods.append(f"{strategy}+{length}+{LR_RANGE}")
    return [make(method, seed) for method in methods]


def measure_all(cells: Sequence[Cell], folder: Path) -> None:
    """Measure what is missing; what frozen layers compute is shared by the rates.

    Raises:
        SystemExit: If a run fails, with what it wrote; what was measured is kept.
    """
    found = fingerprint(folder)
    with tempfile.TemporaryDirectory() as cache:
        for cell in cells:
            measure = suggested if cell.method.endswith(LR_RANGE) else trained
            try:
                kept_result(
                    path_of(cell, found, RESULTS), partial(measure, cell, folder, Path(cache))
                )
            except subprocess.CalledProcessError as error:
                sys.exit(f"{error.stderr}\nfailed: {cell.image_set} {cell.method}")


def trained(cell: Cell, folder: Path, cache: Path) -> Row:
    """Return the accuracy of the last epoch of ``tltool fit``, and the minutes of the process."""
    with tempfile.TemporaryDirectory() as runs:
        words = [*common_flags(cell, folder), f"--runs_dir={runs}", "--name=run"]
        minutes, _ = _timed("fit", *words, f"--trainer.check_val_every_n_epoch={EPOCHS}", at=cache)
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


def judge(cells: Sequence[Cell], found: str, center: float) -> Judged | None:
    """Return what is known of a strategy on a set; ``None`` while something is missing."""
    paths = [path_of(cell, found, RESULTS) for cell in cells]
    if not all(path.is_file() for path in paths):
        return None
    rows = [kept_result(path, dict) for path in paths]
    accuracies = [row["accuracy"] for row in rows if "accuracy" in row]
    rates = [row["lr"] / center for row in rows if "lr" in row]
    return Judged(accuracies, rates[0] if rates else None, sum(row["minutes"] for row in rows))


def interpolated(accuracies: Sequence[float], factor: float) -> float:
    """Return the accuracy at a factor, between those of `FACTORS`; at an edge that of the edge."""
    right = bisect.bisect_left(FACTORS, factor)
    if right in (0, len(FACTORS)):
        return accuracies[min(right, len(FACTORS) - 1)]
    low, high = FACTORS[right - 1], FACTORS[right]
    share = math.log(factor / low) / math.log(high / low)
    return (1 - share) * accuracies[right - 1] + share * accuracies[right]


def regrets_of(judged: Judged) -> list[float]:
    """Return the regret of each factor and of the suggested rate: the best less its accuracy."""
    best = max(judged.accuracies)
    values = list(judged.accuracies)
    if judged.suggested is not None:
        values.append(interpolated(judged.accuracies, judged.suggested))
    return [best - value for value in values]


def print_regrets(strategy: str, option: str, center: float, judged: Mapping[str, Judged]) -> None:
    """Print accuracies by set, and the mean regret of each choice with its error over the sets."""
    if not judged:
        print(f"\n{strategy}: nothing is complete yet.")
        return
    has_test = next(iter(judged.values())).suggested is not None
    heads = [f"{center * factor:.2g}" + " (default)" * (factor == 1) for factor in FACTORS]
    heads += ["suggested, at", "minutes"] if has_test else ["minutes"]
    print(f"\n| {strategy}, {option} |", " | ".join(heads), "|")
    print("|---|" + "---|" * len(heads))
    for name, row in judged.items():
        cells = [f"{value:.3f}" for value in row.accuracies]
        if row.suggested is not None:
            edge = "" if FACTORS[0] <= row.suggested <= FACTORS[-1] else " (edge)"
            accuracy = interpolated(row.accuracies, row.suggested)
            cells.append(f"{accuracy:.3f}, {center * row.suggested:.2g}{edge}")
        print(f"| {name} |", " | ".join(cells), f"| {row.minutes:.1f} |")
    columns = zip(*map(regrets_of, judged.values()), strict=True)
    regrets = [f"{mean(column):.3f}{_error(column)}" for column in columns]
    print("| mean regret |", " | ".join(regrets), "| |", flush=True)


def _error(values: Sequence[float]) -> str:
    return f" +- {stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""


if __name__ == "__main__":
    main()
