"""How long do 24 heads take? `tltool compare` beside one `tltool fit`, both with an empty cache.

6 activations x {no norm, batch norm} x 2 seeds, one hidden layer of 256 on EfficientNet-Lite0, 10
epochs, on a folder with `train` and `val`. *fit, one head* is `tltool fit --finetuning LinearProbe`
with such a head. *compare, one lr* trains 24 heads; *compare, own lrs* tries three for each by
5-fold cross-validation, and more where the best is at the edge. Whole processes, three rounds in
turn; printed are the median seconds and the median of the ratios to the fit of the same round.

Run: python scripts/benchmark/many_heads.py FOLDER
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from functools import partial

from results import FOLDER
from rounds import in_turn, median_ratio

ACTIVATIONS = ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh"]


def main() -> None:
    """Time each command in turn, and print a table."""
    images, cache = sys.argv[1], FOLDER / "many-heads-cache"
    shared = ["--data.root", images, "--runs_dir", str(FOLDER / "many-heads-runs")]
    shared += ["--trainer.max_epochs", "10"]
    axes = ["--axes.activation", *ACTIVATIONS, "--axes.norm", "null", "batch"]
    compare = ["compare", *shared, *axes, "--axes.seed", "0", "1"]
    one_head = ["--finetuning", "LinearProbe", "--model.head.hidden_features", "[256]"]
    commands = {
        "fit, one head": ["fit", *shared, *one_head],
        "compare, one lr": [*compare, "--lr", "1e-3"],
        "compare, own lrs": compare,
    }

    def seconds_of(command: list[str]) -> float:
        shutil.rmtree(cache, ignore_errors=True)
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "tltool", *command],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"TLTOOL_CACHE": str(cache)},
        )
        return time.perf_counter() - start

    seconds = in_turn({name: partial(seconds_of, words) for name, words in commands.items()})
    print("| command | seconds | times the fit |")
    print("|---|---|---|")
    one = seconds["fit, one head"]
    for name, times in seconds.items():
        print(f"| {name} | {statistics.median(times):.1f} | {median_ratio(times, one):.2f} |")


if __name__ == "__main__":
    main()
