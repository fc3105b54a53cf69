"""Is the advice of `tltool plan --advise` good? Each strategy run small, and the regret.

EfficientNet-Lite0 at 128 px, AdamW, batch 32, 60 steps, 3 draws of the training photos. Each
strategy gets the learning rate with the least loss on photos that neither train nor test, from a
ladder that is climbed until the best rate is not at its end. Regret is the best accuracy of a case
minus that of the advised strategy. Results are kept in runs/benchmark/advice.jsonl, and a later
call goes on there.

Run: python scripts/benchmark/advice.py FOLDER [--jobs 2] [--only CASE ...]
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import torch
from cases import Case
from fits import IMG_SIZE, fit_on
from results import FOLDER, SEEDS, Row, kept

from tltool.cli.advise import advise_on
from tltool.data.datamodule import ImageDataModule
from tltool.finetuning.partial_strategies import LastBlocks
from tltool.finetuning.strategies import (
    LPFT,
    FinetuningStrategy,
    FullFinetuning,
    GradualUnfreezing,
    LinearProbe,
)
from tltool.models.backbone import Backbone

FILE = FOLDER / "advice.jsonl"
LADDER = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
FIRST = {"LinearProbe": (2, 3, 4), "LPFT": (2, 3, 4)}  # Their heads train alone, and stand more.
STRATEGIES: dict[str, FinetuningStrategy] = {
    "LinearProbe": LinearProbe(),
    "LastBlocks": LastBlocks(1),
    "FullFinetuning": FullFinetuning(),
    "LPFT": LPFT(),
    "GradualUnfreezing": GradualUnfreezing(),
}
ADVICE = "advice"


class Scores(NamedTuple):
    """Test accuracy for each draw of the training photos, and what was trained."""

    accuracies: list[float]
    names: list[str]


def make_cases(folder: str) -> list[Case]:
    """Return the cases; the folder is that of ants and bees."""
    return [
        Case(folder),
        Case(folder, 10),
        Case("elpv", 10),
        Case("elpv", 50),
        Case("digits", 10),
        Case("digits", 50),
        Case("fashion-mnist", 10),
    ]


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", help="ants and bees, with train and val")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--only", nargs="+", help="names of cases, such as digits-10")
    args = parser.parse_args()
    cases = [c for c in make_cases(args.folder) if args.only is None or c.name in args.only]
    if not cases:
        names = ", ".join(case.name for case in make_cases(args.folder))
        parser.error(f"--only takes these cases: {names}.")
    start = time.monotonic()
    for case in cases:  # Write what is to be written, before processes share it.
        case.make_data({}, seed=0)
    found: dict[tuple[Case, str], Scores] = {}
    with ProcessPoolExecutor(args.jobs) as pool:
        # The advised fits are mostly among the others, so these come first and are kept.
        for names in (tuple(STRATEGIES), (ADVICE,)):
            tasks = [(case, name) for case in cases for name in names]
            runs = [pool.submit(scores, case, name) for case, name in tasks]
            found |= {task: run.result() for task, run in zip(tasks, runs, strict=True)}
    print_table(cases, found)
    print(f"{(time.monotonic() - start) / 60:.0f} minutes, with {args.jobs} processes")


def scores(case: Case, name: str) -> Scores:
    """Return the scores of a strategy, or of the advised ones."""
    found = Scores([], [])
    for seed in SEEDS:
        strategy, stop_at = advised(case, seed) if name == ADVICE else (name, None)
        rate = best_rung(case, strategy, stop_at)
        compute = partial(run, case.make_data, case, strategy, stop_at, lr=rate, seed=seed)
        key = {**key_of(case, strategy, stop_at), "lr": rate, "seed": seed}
        found.accuracies.append(kept(FILE, key, compute)["accuracy"])
        found.names.append(f"{strategy} at {stop_at}" if stop_at else strategy)
    return found


def advised(case: Case, seed: int) -> tuple[str, str | None]:
    """Return strategy and ``stop_at`` that the advice names for a draw of photos."""
    # Not kept: it takes seconds, and the rule may change.
    torch.set_num_threads(1)
    backbone = Backbone("tf_efficientnet_lite0", img_size=IMG_SIZE)
    advice, _, _ = advise_on(backbone, case.make_data(backbone.data_config, seed=seed))
    return type(advice.strategy).__name__, advice.stop_at


def best_rung(case: Case, strategy: str, stop_at: str | None) -> float:
    """Climb the ladder of rates, up and down, while the best rate is the last one tried."""
    key = {**key_of(case, strategy, stop_at), "choosing": True}
    losses: dict[int, float] = {}
    wanted = set(FIRST.get(strategy, (1, 2, 3)))
    while wanted:
        for rung in wanted:
            compute = partial(run, case.choosing, case, strategy, stop_at, lr=LADDER[rung], seed=0)
            losses[rung] = kept(FILE, {**key, "lr": LADDER[rung]}, compute)["loss"]
        best = min(losses, key=losses.__getitem__)
        wanted = {best - 1, best + 1} & set(range(len(LADDER))) - set(losses)
    return LADDER[best]


def run(
    make_data: Callable[..., ImageDataModule],
    case: Case,
    strategy: str,
    stop_at: str | None,
    *,
    lr: float,
    seed: int,
) -> Row:
    """Fit once."""
    backbone = partial(Backbone, "tf_efficientnet_lite0", img_size=IMG_SIZE, stop_at=stop_at)
    data = partial(make_data, seed=seed)
    epochs = case.max_epochs()
    return fit_on(backbone, data, STRATEGIES[strategy], lr=lr, seed=seed, epochs=epochs)


def key_of(case: Case, strategy: str, stop_at: str | None) -> Row:
    """Return what tells fits apart, but for rate and seed."""
    key = {"case": case.name, "strategy": strategy}
    return key if stop_at is None else {**key, "stop_at": stop_at}


def print_table(cases: Sequence[Case], found: Mapping[tuple[Case, str], Scores]) -> None:
    """Print accuracies by case, the mean regret of each way to choose, and the verdict."""
    columns = (*STRATEGIES, ADVICE)
    accuracies = {
        case: {name: statistics.mean(found[case, name].accuracies) for name in columns}
        for case in cases
    }
    print(
        "| case |", " | ".join(columns), "| advised |\n|---|", "---|" * (len(columns) + 1), sep=""
    )
    for case, row in accuracies.items():
        named = ", ".join(dict.fromkeys(found[case, ADVICE].names))
        print(f"| {case.name} |", " | ".join(f"{row[n]:.3f}" for n in columns), f"| {named} |")
    regrets = {
        name: [max(row.values()) - row[name] for row in accuracies.values()] for name in columns
    }
    means = {name: statistics.mean(values) for name, values in regrets.items()}
    print("| mean regret |", " | ".join(f"{means[n]:.3f}" for n in columns), "| |")
    print("| largest |", " | ".join(f"{max(regrets[n]):.3f}" for n in columns), "| |")
    for name in STRATEGIES:
        gains = [other - own for other, own in zip(regrets[name], regrets[ADVICE], strict=True)]
        print(_verdict(name, gains))
    best = min(STRATEGIES, key=means.__getitem__)
    if means[best] <= means[ADVICE]:
        print(f"The advice is not better than always {best}: advise {best}.")


def _verdict(name: str, gains: Sequence[float]) -> str:
    """Return how the advice compares to always one strategy, with the error over the cases."""
    mean = statistics.mean(gains)
    error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    beats = "beats" if mean > 0 else "does not beat"
    noise = "" if abs(mean) > 2 * error else ", within noise"
    return f"The advice {beats} always {name}: {mean:+.3f} +- {error:.3f} over the cases{noise}."


if __name__ == "__main__":
    main()
