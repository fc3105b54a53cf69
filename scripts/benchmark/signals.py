"""Send signals at random moments to a run that is started again and again, and count what is lost.

Each try starts ``tltool fit --run_dir`` on small images with one rank or two, with workers or
without, and with W&B; waits until it imports, builds or trains, and a random time more; sends a
random signal to a rank, to all, or to all processes; and waits for the end. Nothing may hang or
stay behind, code and ``status.json`` say that the run is unfinished, and ``last.ckpt`` is whole and
holds each batch that ``metrics.csv`` knows.
The next try resumes it; each fifth is a new run. Each try is a row of a CSV file; a script that is
started again continues behind the last one.

    python scripts/benchmark/signals.py --tries 100 --out signals.csv
"""

import argparse
import contextlib
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from tltool.training.distributed.run_status import MOST_STARTS, UNFINISHED, read_status
from tltool.training.distributed.signals import INTERRUPTED

FIELDS = ("try", "signal", "target", "ranks", "workers", "moment", "after", "seconds", "code")
FIELDS += ("status", "step", "verdict")
MOMENTS = ("imports", "building", "training", "training")
SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT")
TARGETS = ("first", "last", "all", "every process")
TRIES_OF_A_RUN = 5


class RunFiles(NamedTuple):
    """What the files of a run say: its status, the step of ``last.ckpt``, and its metrics."""

    state: str
    step: int
    metrics: str


def main() -> None:
    """Run what is left of the tries."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("signals.csv"))
    parser.add_argument("--folder", type=Path, default=Path("signals_runs"))
    parser.add_argument("--longest", type=float, default=8.0, help="seconds behind a moment")
    parser.add_argument("--grace", type=float, default=30.0, help="seconds from it to a kill")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Shells ignore it for jobs of `&`.
    done = len(given.out.read_text().splitlines()) - 1 if given.out.is_file() else 0
    images = write_images(given.folder / "images")
    for number in range(done, given.tries):
        row = run_once(number, images, given.folder / "run", given.longest, given.grace)
        is_new = not given.out.is_file()
        with given.out.open("a", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)


def run_once(
    number: int, images: Path, run: Path, longest: float, grace: float
) -> dict[str, object]:
    """Start a run, send it a signal, and return what came of it as a row."""
    draw = random.Random(number)  # noqa: S311  # no secrets here
    name, target = draw.choice(SIGNALS), draw.choice(TARGETS)
    ranks, workers, moment = draw.choice([1, 2]), draw.choice([0, 1]), draw.choice(MOMENTS)
    status = read_status(run)
    if number % TRIES_OF_A_RUN == 0 or (status and status.starts >= MOST_STARTS):
        shutil.rmtree(run, ignore_errors=True)
    before, log = look(run), run.with_name(f"{number:03d}.log")
    process = start(images, run, log, ranks, workers)
    wait_until(lambda: has_come_to(moment, log) or process.poll() is not None, 10 * grace)
    after = draw.uniform(0.5, longest)
    time.sleep(after)
    pids = [process.pid, *descendants(process.pid)]
    for pid in targets(pids, target):
        with contextlib.suppress(ProcessLookupError):  # It has ended by now.
            os.kill(pid, signal.Signals[name])
    began = time.monotonic()
    wait_until(lambda: process.poll() is not None, grace)
    seconds, code = time.monotonic() - began, process.poll()
    has_left = wait_until(lambda: not is_there(process.pid, pids), grace - seconds + 1)
    if not has_left:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    found = {"try": number, "signal": name, "target": target, "ranks": ranks, "workers": workers}
    found |= {"moment": moment, "after": round(after, 2), "seconds": round(seconds, 2)}
    found |= judge(code, name, before, look(run), has_spoken=log.stat().st_size > 0)
    return found if has_left or code is None else found | {"verdict": "STAYS"}


def judge(
    code: int | None, name: str, before: RunFiles, after: RunFiles, *, has_spoken: bool
) -> dict[str, object]:
    """Return what the files of a run say, and whether that is right behind what they said."""
    has_trained, states = after.metrics != before.metrics, {"unfinished", before.state}
    is_said = is_unfinished(code, name, has_spoken=has_spoken, has_trained=has_trained)
    # Rows that a fault has left behind are none that this try has lost.
    logged = logged_steps(after.metrics) if has_trained else 0
    verdict = "ok"
    if code is None:
        verdict = "HANGS"
    elif after.state not in states or not is_said:
        verdict = "WRONG"
    elif after.step < max(before.step, logged):
        verdict = "LOST"
    return {"code": code, "status": after.state, "step": after.step, "verdict": verdict}


def is_unfinished(code: int | None, name: str, *, has_spoken: bool, has_trained: bool) -> bool:
    """Tell whether a code says that a run is to be started again, or was never begun."""
    is_interrupt = name == "SIGINT" and code == INTERRUPTED and not has_trained
    is_too_early = code == -signal.Signals[name] and not has_spoken  # For any handler.
    return code == UNFINISHED or is_interrupt or is_too_early


def start(
    images: Path, run: Path, log: Path, ranks: int, workers: int
) -> "subprocess.Popen[bytes]":
    """Start a training that does not end by itself, as a group of processes."""
    words = [sys.executable, "-m", "tltool", "fit", "--data.root", images, "--run_dir", run]
    words += ["--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"]
    words += ["--model.backbone.img_size", "32", "--data.batch_size", "4"]
    words += ["--data.num_workers", workers, "--trainer.max_epochs", "100000"]
    words += ["--trainer.accelerator", "cpu", "--trainer.devices", ranks]
    words += ["--trainer.log_every_n_steps", "1", "--wandb.project", "signals"]
    words += ["--wandb.offline", "true", *(["--trainer.strategy", "ddp"] if ranks > 1 else [])]
    environment = os.environ | {"WANDB_CONSOLE": "off", "WANDB_ERROR_REPORTING": "false"}
    with log.open("wb") as output:
        return subprocess.Popen(
            [str(word) for word in words],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )


def has_come_to(moment: str, log: Path) -> bool:
    """Tell whether a run has come to a moment, by what it has printed."""
    sign = {"imports": "", "building": "backbone ", "training": "Phase "}[moment]
    return sign in log.read_text(errors="replace")


def targets(pids: list[int], target: str) -> list[int]:
    """Return the processes that get the signal: a rank, all ranks, or all that there are."""
    ranks = [pids[0], *filter(is_rank, pids[1:])]
    return {"first": ranks[:1], "last": ranks[-1:], "all": ranks, "every process": pids}[target]


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


def is_there(group: int, pids: list[int]) -> bool:
    """Tell whether a group, or a list, has a process that is not dead."""
    words = ["ps", "-o", "stat=", "-s", str(group), "-p", ",".join(map(str, pids))]
    found = subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()
    return any(not state.startswith("Z") for state in found)


def wait_until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Wait for something, and tell whether it came in time."""
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.1)
    return is_so()


def look(run: Path) -> RunFiles:
    """Read the files of a run."""
    status, last, metrics = read_status(run), run / "checkpoints/last.ckpt", run / "metrics.csv"
    step = int(torch.load(last, weights_only=True)["global_step"]) if last.is_file() else 0
    text = metrics.read_text() if metrics.is_file() else ""
    return RunFiles(status.state if status else "none", step, text)


def logged_steps(metrics: str) -> int:
    """Return how many steps the text of ``metrics.csv`` knows."""
    rows = csv.DictReader(metrics.splitlines())
    return max((int(row["step"]) + 1 for row in rows), default=0)


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
