"""What does watching cost? Training with and without the health monitor.

EfficientNet-Lite0 on a folder with `train` and `val`: a head with a hidden layer of 256 on cached
features for 20 epochs, and everything for one epoch at 128 px. Five pairs of runs in turn; printed
is the median of the ratios of the seconds between the first and the last training batch.

Run: python scripts/benchmark/health_cost.py FOLDER
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from typing import Any

from lightning.pytorch import Callback, Trainer

from tltool.cli import FitCLI, run_cli

PAIRS = 5
CASES = {
    "features": ["--model.head.hidden_features", "[256]", "--trainer.max_epochs", "20"],
    "everything": [
        *("--finetuning", "FullFinetuning", "--trainer.max_epochs", "1"),
        *("--model.backbone.img_size", "128"),
    ],
}


class Clock(Callback):
    """Note when training began and ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        """See ``Callback``."""
        self.times.append(time.perf_counter())


def seconds(folder: str, case: list[str], *, watched: bool) -> float:
    """Return how long the batches of a fit took, but for the first."""
    clock = Clock()

    class TimedCLI(FitCLI):
        def instantiate_trainer(self, **kwargs: Any) -> Trainer:
            trainer = super().instantiate_trainer(**kwargs)
            trainer.callbacks.append(clock)  # type: ignore[attr-defined]  # set by a connector
            return trainer

    with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stdout(io.StringIO()):
        words = ["fit", "--data.root", folder, *case, "--runs_dir", runs]
        run_cli(TimedCLI, [*words, "--health.enabled", str(watched).lower()])
    return clock.times[-1] - clock.times[0]


def main() -> None:
    """Print a table row for each case."""
    print("| training | without, s | with, s | ratio |")
    print("|---|---|---|---|")
    for name, case in CASES.items():
        seconds(sys.argv[1], case, watched=True)  # Features are computed, files are in memory.
        without, watched = [], []
        for _ in range(PAIRS):
            without.append(seconds(sys.argv[1], case, watched=False))
            watched.append(seconds(sys.argv[1], case, watched=True))
            print(f"{name}: {without[-1]:.2f} {watched[-1]:.2f}", file=sys.stderr, flush=True)
        ratio = statistics.median(w / o for w, o in zip(watched, without, strict=True))
        print(
            f"| {name} | {statistics.median(without):.2f} | {statistics.median(watched):.2f} "
            f"| {ratio:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
