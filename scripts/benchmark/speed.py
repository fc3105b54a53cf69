"""How long does training a head take? tltool beside one pass by hand, and a loop by hand.

Whole processes on a folder with `train` and `val`: *bound* is what cannot be beaten: import torch
and timm, decode, pass each photo through EfficientNet-Lite0 once (channels_last, float32), and
train a linear head on the features, with a validation each epoch. *loop* passes every photo in
every epoch. tltool runs with an empty cache and with a full one. Three rounds in turn; printed are
the median seconds and the median of the ratios to the bound of the same round.

Run: python scripts/benchmark/speed.py FOLDER [EPOCHS]
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from tltool.models.backbone import Backbone

FOLDER = Path("runs/benchmark")
ROUNDS = 3


def main() -> None:
    """Time each tool in turn, and print a table."""
    photos, epochs = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "10"
    weights, cache = FOLDER / "lite0.pt", FOLDER / "speed-cache"
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.save(Backbone("tf_efficientnet_lite0").model.state_dict(), weights)
    job = [sys.executable, str(Path(__file__).with_name("speed_job.py"))]
    fit = [sys.executable, "-m", "tltool", "fit", "--data.root", photos]
    fit += ["--trainer.max_epochs", epochs, "--runs_dir", str(FOLDER / "speed-runs")]
    commands = {
        "bound": [*job, "bound", str(weights), photos, epochs],
        "tltool, empty cache": fit,
        "tltool, full cache": fit,
        "loop": [*job, "loop", str(weights), photos, epochs],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        shutil.rmtree(cache, ignore_errors=True)
        for name, command in commands.items():
            start = time.perf_counter()
            done = subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                env=os.environ | {"TLTOOL_CACHE": str(cache)},
            )
            seconds[name].append(time.perf_counter() - start)
            said = [line for line in done.stdout.splitlines() if line.strip()]
            result = next((line for line in reversed(said) if line[0] in "0e"), "")
            print(f"{name:<20} {seconds[name][-1]:6.1f} s  {result}", file=sys.stderr, flush=True)
    print("| tool | seconds | times the bound |")
    print("|---|---|---|")
    for name, times in seconds.items():
        ratios = [own / bound for own, bound in zip(times, seconds["bound"], strict=True)]
        print(f"| {name} | {statistics.median(times):.1f} | {statistics.median(ratios):.2f} |")


if __name__ == "__main__":
    main()
