"""How long does training a head take? tltool beside one pass by hand, and a loop by hand.

Whole processes on a folder with `train` and `val`: *bound* is what cannot be beaten: import torch
and timm, decode, pass each image through EfficientNet-Lite0 once (channels_last, float32), and
train a linear head on the features, with a validation each epoch. *loop* passes every image in
every epoch. `tltool fit --finetuning LinearProbe` runs with an empty cache and with a full one.
*fastai* and *autotimm* train a head as their documentation says; pip fills an environment for each
(about 6 GB). `elpv` is a folder of the 2,624 solar cells. Three rounds in turn; printed are the
median seconds, the median of the ratios to the first tool of the same round, and the last
validation accuracy.

Run: python scripts/benchmark/speed.py FOLDER|elpv [--epochs 10] [--rounds 3] [--only TOOL ...]
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
from environments import interpreter
from results import FOLDER
from rounds import ROUNDS, in_turn, median_ratio

from tltool.data.datamodules.elpv import ELPVDataModule
from tltool.models.backbone import Backbone

OTHERS = ("fastai", "autotimm")
EMPTY = "tltool, empty cache"
TOOLS = ("bound", EMPTY, "tltool, full cache", "loop", *OTHERS)
CACHE = FOLDER / "speed-cache"
ACCURACY = re.compile(r"^(?:epoch .*val/accuracy )?([01]\.\d+)", re.MULTILINE)


def main() -> None:
    """Time each tool in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", help="images, with train and val; or elpv")
    parser.add_argument("--epochs", default="10")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="+", choices=TOOLS, default=TOOLS)
    args = parser.parse_args()
    images = linked_cells() if args.folder == "elpv" else args.folder
    commands = {tool: command(tool, images, args.epochs) for tool in args.only}
    accuracies: dict[str, str] = {}

    def seconds_of(tool: str) -> float:
        if tool == EMPTY:
            shutil.rmtree(CACHE, ignore_errors=True)
        start = time.perf_counter()
        done = subprocess.run(
            commands[tool],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"TLTOOL_CACHE": str(CACHE)},
        )
        seconds = time.perf_counter() - start
        accuracies[tool] = ACCURACY.findall(done.stdout)[-1]
        return seconds

    seconds = in_turn({tool: partial(seconds_of, tool) for tool in commands}, rounds=args.rounds)
    first = args.only[0]
    print(f"| tool | seconds | times {first} | accuracy |")
    print("|---|---|---|---|")
    for tool, times in seconds.items():
        ratio, median = median_ratio(times, seconds[first]), statistics.median(times)
        print(f"| {tool} | {median:.1f} | {ratio:.2f} | {float(accuracies[tool]):.3f} |")


def linked_cells() -> str:
    """Return a folder with links to the solar cells; what does not train validates."""
    folder, cells = FOLDER / "elpv-folder", ELPVDataModule()
    shutil.rmtree(folder, ignore_errors=True)
    for part, place in (("train", "train"), ("val", "val"), ("test", "val")):
        samples = cells.samples(part)
        for path, label in zip(samples.paths, samples.labels or [], strict=True):
            link = folder / place / cells.class_names[label] / Path(path).name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return str(folder)


def command(tool: str, images: str, epochs: str) -> list[str]:
    """Return the command that a tool is timed with."""
    if tool.startswith("tltool"):
        fit = [sys.executable, "-m", "tltool", "fit", "--data.root", images]
        fit += ["--finetuning", "LinearProbe", "--trainer.max_epochs", epochs]
        return [*fit, "--runs_dir", str(FOLDER / "speed-runs")]
    python, job = sys.executable, "speed_job.py"
    if tool in OTHERS:
        python, job = interpreter(tool, "timm"), "speed_others_job.py"
    weights = FOLDER / "lite0.pt"
    if not weights.is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        torch.save(Backbone("tf_efficientnet_lite0").model.state_dict(), weights)
    script = Path(__file__).with_name(job)
    return [python, str(script), tool, str(weights), images, epochs]


if __name__ == "__main__":
    main()
