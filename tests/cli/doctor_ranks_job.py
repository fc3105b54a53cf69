"""One of two ranks of test_doctor_ranks.py: `tltool doctor --ranks` under several faults.

Usage: RANK=0 WORLD_SIZE=2 ... python doctor_ranks_job.py FOLDER PORT...
"""

import contextlib
import io
import os
import sys
from pathlib import Path

import torch

from tltool.__main__ import main

FOLDER, PORTS = Path(sys.argv[1]), sys.argv[2:]
IS_FIRST = os.environ["RANK"] == "0"
WORDS = [
    *("doctor", "--ranks", "--model.backbone.name", "test_resnet", "--data.num_workers", "0"),
    *("--model.backbone.img_size", "32", "--trainer.accelerator", "cpu"),
    *("--finetuning", "LinearProbe"),
]


def words(root="images", weights="random", run_dir="runs", time_limit=60):
    options = {"--data.root": FOLDER / root, "--model.backbone.weights": weights}
    options |= {"--runs_dir": FOLDER / run_dir, "--time_limit": time_limit}
    return [*WORDS, *(str(word) for pair in options.items() for word in pair)]


# What rank 0 and rank 1 are started with; None: not at all.
SCENARIOS = {
    "healthy": (words(), words()),
    "no images": (words(), words(root="elsewhere")),
    "fewer images": (words(), words(root="fewer")),
    "no weights": (words(), words(weights=str(FOLDER / "weights.pt"))),
    "absent": (words(time_limit=3), None),
}


def run(scenario, port):
    os.environ["MASTER_PORT"] = port
    given = SCENARIOS[scenario][0 if IS_FIRST else 1]
    if given is None:
        return
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = main(given)
    name = f"{scenario} {os.environ['RANK']}"
    (FOLDER / name).write_text(f"{status}\n{output.getvalue()}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for scenario, port in zip(SCENARIOS, PORTS, strict=True):
        run(scenario, port)
