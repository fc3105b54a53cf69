"""What does watching cost? Training with and without the health monitor.

EfficientNet-Lite0 on a folder with `train` and `val`: a head with a hidden layer of 256 on cached
features for 20 epochs, and everything for one epoch at 128 px. Five pairs of runs in turn; printed
is the median of the ratios of the seconds between the first and the last training batch.

Run: python scripts/benchmark/health_cost.py FOLDER
"""

import statistics
import sys
from functools import partial

from rounds import in_turn, median_ratio
from watched_fit import BatchClock, watched_fit

PAIRS = 5
CASES = {
    "features": [
        *("--finetuning", "LinearProbe", "--trainer.max_epochs", "20"),
        *("--model.head.hidden_features", "[256]"),
    ],
    "everything": [
        *("--finetuning", "FullFinetuning", "--trainer.max_epochs", "1"),
        *("--model.backbone.img_size", "128"),
    ],
}


def seconds(folder: str, case: list[str], *, watched: bool) -> float:
    """Return how long the batches of a fit took, but for the first."""
    clock = BatchClock()
    options = ["--data.root", folder, *case, "--health.enabled", str(watched).lower()]
    watched_fit(options, clock)
    return clock.ends[-1][0] - clock.ends[0][0]


def main() -> None:
    """Print a table row for each case."""
    print("| training | without, s | with, s | ratio |")
    print("|---|---|---|---|")
    for name, case in CASES.items():
        fit = partial(seconds, sys.argv[1], case)
        fit(watched=True)  # Features are computed, files are in memory.
        measures = {
            f"{name}, without": partial(fit, watched=False),
            f"{name}, with": partial(fit, watched=True),
        }
        without, watched = in_turn(measures, rounds=PAIRS).values()
        print(
            f"| {name} | {statistics.median(without):.2f} | {statistics.median(watched):.2f} "
            f"| {median_ratio(watched, without):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
