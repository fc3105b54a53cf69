"""How long until something happens, and how much memory? Whole processes, three rounds in turn.

*imports* is a process that imports torch and timm and nothing else. The others are commands of
tltool; *first step* is `tltool fit --finetuning LinearProbe` with one step on a folder with `train`
and `val`, features computed before, and *epoch, everything* one epoch that trains all of
EfficientNet-Lite0. Printed are median seconds and the largest resident memory of a process.

Run: python scripts/benchmark/startup.py FOLDER
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial

from rounds import in_turn


def main() -> None:
    """Time each command in turn, and print a table."""
    images = sys.argv[1]
    tltool = [sys.executable, "-m", "tltool"]
    with tempfile.TemporaryDirectory() as folder:
        fit = [*tltool, "fit", "--data.root", images, "--runs_dir", folder]
        commands = {
            "imports": [sys.executable, "-c", "import torch, timm"],
            "tltool --help": [*tltool, "--help"],
            "tltool fit --help": [*tltool, "fit", "--help"],
            "tltool activations": [*tltool, "activations"],
            "first step": [*fit, "--finetuning", "LinearProbe", "--trainer.max_steps", "1"],
            "epoch, everything": [*fit, "--finetuning", "FullFinetuning", "--trainer.max_epochs=1"],
        }
        measure(commands["first step"])  # The features are there from now on.
        found = in_turn(
            {name: partial(measure, command) for name, command in commands.items()},
            show=lambda measured: f"{measured[0]:.1f} s",
        )
    print("| command | seconds | memory, MB |")
    print("|---|---|---|")
    for name, rows in found.items():
        seconds, megabytes = (statistics.median(values) for values in zip(*rows, strict=True))
        print(f"| {name} | {seconds:.1f} | {megabytes:.0f} |")


def measure(command: list[str]) -> tuple[float, float]:
    """Return seconds and peak megabytes of a process and those that it starts, the largest one."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"This ended with status {process.returncode}: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024  # Bytes on macOS, kilobytes on Linux.
    return seconds, usage.ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
