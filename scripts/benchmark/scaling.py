"""Scaling over ranks: images a second and bytes a step at 1, 2 and 4 ranks, in each phase.

Each number of ranks is one `tltool fit` under torchrun, with one global batch for all. Bytes are
those that DDP sums over the ranks in a step: gradients of what trains in the phase. Times are
medians from the end of one step to that of the next. More ranks than cores or GPUs only wait for
each other. Results are kept in runs/benchmark/scaling.jsonl.

Run: python scripts/benchmark/scaling.py FOLDER [--ranks 1 2 4] [further options of tltool fit]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from results import FOLDER, Row, kept

from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.find_callback import find_callback

OUTPUT = "TLTOOL_SCALING"  # Variable that says where a job writes what it measured.


class StepWatch(Callback):
    """Keeps time, images and bytes of each step by phase, and writes their medians."""

    def __init__(self) -> None:
        self.steps: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
        self.last: tuple[str, float] | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the end of the last step: validation came in between."""
        self.last = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the step."""
        now, phase = time.perf_counter(), find_callback(trainer, Finetuning).phase
        assert phase is not None  # noqa: S101  # set when training starts
        if self.last and self.last[0] == phase.name:
            images = len(batch["labels"]) * trainer.world_size
            self.steps[phase.name].append((now - self.last[1], images, summed_bytes(trainer)))
        self.last = phase.name, now

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the medians of rank 0."""
        if not trainer.is_global_zero:
            return
        found = {}
        for phase, steps in self.steps.items():
            seconds, images, sizes = (
                statistics.median(column) for column in zip(*steps, strict=True)
            )
            rate = images / seconds
            found[phase] = {"images": images, "images_per_second": rate, "bytes": sizes}
        Path(os.environ[OUTPUT]).write_text(json.dumps(found))


def summed_bytes(trainer: Trainer) -> int:
    """Return the bytes that DDP sums over the ranks in a step; 0 for one rank."""
    if trainer.world_size == 1:
        return 0
    assert trainer.strategy.model is not None  # noqa: S101  # it trains
    data: dict[str, Any] = trainer.strategy.model._get_ddp_logging_data()  # type: ignore[operator]
    return sum(int(size) for size in str(data["bucket_sizes"]).split(","))


def measure(ranks: int, folder: str, options: list[str]) -> Row:
    """Return what a fit on so many ranks has measured, by phase."""
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "steps.json"
        command = ["torchrun", "--standalone", f"--nproc-per-node={ranks}", "-m", "tltool", "fit"]
        command += ["--data.root", folder, "--runs_dir", temporary, *options]
        command += ["--trainer.callbacks", "scaling.StepWatch"]
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {
            "PYTHONPATH": path,
            OUTPUT: str(output),
            "TLTOOL_CACHE": temporary,
        }
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        found: Row = json.loads(output.read_text())
        return found


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    given, options = parser.parse_known_args()
    print("| phase | ranks | images a step | images a second | MB a step |")
    print("|---|---|---|---|---|")
    rows = []
    for ranks in given.ranks:
        key = {"folder": given.folder, "ranks": ranks, "options": options}
        found = kept(
            FOLDER / "scaling.jsonl", key, lambda n=ranks: measure(n, given.folder, options)
        )
        rows += [(phase, ranks, values) for phase, values in found.items()]
    order = list(dict.fromkeys(phase for phase, _, _ in rows))
    for phase, ranks, values in sorted(rows, key=lambda row: order.index(row[0])):
        rate, megabytes = values["images_per_second"], values["bytes"] / 1e6
        print(f"| {phase} | {ranks} | {values['images']:g} | {rate:.1f} | {megabytes:.2f} |")


if __name__ == "__main__":
    sys.exit(main())
