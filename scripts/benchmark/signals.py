"""Send signals at random moments to a run that is started again and again, and count what is lost.

Each try starts ``tltool fit`` on small images with two ranks or one, waits for a random time, sends
a random signal to one rank, to all, or to all processes, with workers and W&B, and waits for the
end. It checks that nothing hangs, that code and ``status.json`` say unfinished, that what can be
resumed is whole, and that no batch that ``metrics.csv`` knows is missing from ``last.ckpt``. Each
try is a row of a CSV file; a script that is started again goes on behind the last one.

    python scripts/benchmark/signals.py --tries 100 --out signals.csv
"""

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from PIL import Image

from tltool.training.distributed.run_status import UNFINISHED, read_status

FIELDS = ("try", "signal", "target", "ranks", "workers", "after", "seconds", "code", "status")
FIELDS += ("step", "verdict")
GRACE = 30.0
"""Seconds that a run is given to end after its signal."""


def main() -> None:
    """Run what is left of the tries."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("signals.csv"))
    parser.add_argument("--folder", type=Path, default=Path("signals_runs"))
    parser.add_argument("--longest", type=float, default=40.0, help="seconds up to the signal")
    given = parser.parse_args()
    done = len(given.out.read_text().splitlines()) - 1 if given.out.is_file() else 0
    images = write_images(given.folder / "images")
    for number in range(done, given.tries):
        row = run_once(number, images, given.folder / "run", given.longest)
        is_new = not given.out.is_file()
        with given.out.open("a", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)


def run_once(number: int, images: Path, run: Path, longest: float) -> dict[str, object]:
    """Start a run, send it a signal, and return what came of it as a row."""
    draw = random.Random(number)  # noqa: S311  # no secrets here
    name = draw.choice(["SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT"])
    ranks, workers = draw.choice([1, 2]), draw.choice([0, 1])
    target = draw.choice(["first", "all", "every process"])
    after = draw.uniform(0.5, longest)
    shutil.rmtree(run, ignore_errors=True)
    process = start(images, run, ranks, workers)
    time.sleep(after)
    for pid in targets(process.pid, target):
        os.kill(pid, signal.Signals[name])
    began = time.monotonic()
    try:
        code: int | None = process.wait(GRACE)
    except subprocess.TimeoutExpired:
        code = None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    found = {"try": number, "signal": name, "target": target, "ranks": ranks, "workers": workers}
    found |= {"after": round(after, 2), "seconds": round(time.monotonic() - began, 2), "code": code}
    return found | judge(code, name, run / "run" / "0")


def judge(code: int | None, name: str, run: Path) -> dict[str, object]:
    """Return what the files of a run say, and whether that is right."""
    status = read_status(run)
    last = run / "checkpoints" / "last.ckpt"
    step = int(torch.load(last, weights_only=True)["global_step"]) if last.is_file() else 0
    logged = steps_in(run / "metrics.csv")
    said = status.state if status else "none"
    right = code == UNFINISHED and said in {"unfinished", "none"}
    right |= name == "SIGINT" and code == 130 and said in {"unfinished", "none"}
    verdict = "ok" if right and step >= logged else "LOST" if right else "WRONG"
    verdict = "HANGS" if code is None else verdict
    return {"status": said, "step": step, "verdict": verdict}


def start(images: Path, run: Path, ranks: int, workers: int) -> "subprocess.Popen[bytes]":
    """Start a training that does not end by itself, as a group of processes."""
    words = [sys.executable, "-m", "tltool", "fit", "--data.root", images, "--name", "run"]
    words += ["--runs_dir", run, "--model.backbone.name", "test_resnet"]
    words += ["--model.backbone.weights", "random", "--model.backbone.img_size", "32"]
    words += ["--data.batch_size", "4", "--data.num_workers", workers]
    words += ["--trainer.max_epochs", "100000", "--trainer.accelerator", "cpu"]
    words += ["--trainer.devices", ranks, "--trainer.log_every_n_steps", "1"]
    words += ["--wandb.project", "signals", "--wandb.offline", "true"]
    words += ["--trainer.strategy", "ddp"] if ranks > 1 else []
    environment = os.environ | {"WANDB_CONSOLE": "off", "WANDB_ERROR_REPORTING": "false"}
    log = run.with_suffix(".log").open("wb")
    return subprocess.Popen(
        [str(word) for word in words],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def targets(pid: int, target: str) -> list[int]:
    """Return the processes that get the signal: the first rank, all ranks, or all there are."""
    if target == "first":
        return [pid]
    pids = [pid, *descendants(pid)]
    if target == "every process":
        return pids
    return [each for each in pids if each == pid or is_rank(each)]


def descendants(pid: int) -> list[int]:
    """Return all processes below one."""
    words = ["ps", "-o", "pid=", "--ppid", str(pid)]
    found = subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()
    return [each for child in map(int, found) for each in (child, *descendants(child))]


def is_rank(pid: int) -> bool:
    """Tell whether a process is a rank: it runs the command, and is no fork of one that does."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        own = Path(f"/proc/{parent}/environ").read_bytes()
    except OSError:  # It is gone.
        return False
    return b"fit" in words and environment != own


def steps_in(metrics: Path) -> int:
    """Return how many steps a run has logged."""
    if not metrics.is_file():
        return 0
    with metrics.open(newline="") as file:
        return max((int(row["step"]) + 1 for row in csv.DictReader(file)), default=0)


def write_images(root: Path) -> Path:
    """Write noisy images of two colors, if they are not there yet."""
    generator = torch.Generator().manual_seed(0)
    for name, color in (("blue", (40, 60, 200)), ("red", (210, 50, 40))):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(12):
            noise = 25 * torch.randn(48, 48, 3, generator=generator)
            pixels = (torch.tensor(color, dtype=torch.float) + noise).clamp(0, 255)
            Image.fromarray(pixels.to(torch.uint8).numpy()).save(root / name / f"{number:02d}.png")
    return root


if __name__ == "__main__":
    main()
