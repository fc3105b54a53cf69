"""Record of a run, read from its run directory: configuration, metrics, health, checkpoint."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tltool._csv_rows import read_rows
from tltool._objective import MONITORS as USUAL_MONITORS
from tltool._objective import Objective
from tltool._plain_text import shell_command
from tltool.diagnostics.health import alarm_table, health_table
from tltool.models.class_paths import modules_option
from tltool.training.callbacks.checkpoints import MONITORS, TIES
from tltool.training.callbacks.ending_files import ENDING, holds_last_epoch, is_unchosen
from tltool.training.checkpoint_io import read_checkpoint

MADE_AGAIN = ("model", "data", "finetuning", "optimizer")
"""The sections of a run's configuration whose objects a report makes again."""

CURVES = {
    "loss": "loss",
    "accuracy": "accuracy",
    "map": "mAP",
    "f1_macro": "macro F1",
    "exact_match": "exact match",
    "mae": "MAE",
    "spearman": "Spearman",
}
"""What is drawn over the epochs of what was measured, by its name, of any objective."""


@dataclass(frozen=True)
class RunRecord:
    """A run directory, read.

    Attributes:
        run_dir: Where it lies.
        config: Its ``config.yaml``.
        metrics: (epoch, value) pairs by name; empty if no epoch was finished.
        steps: The last optimizer step of each epoch that was measured, counted from 0.
        health: Rows of ``health.csv``; ``None`` if there is no such file.
        alarms: Rows of ``alarms.csv``.
        checkpoint: The best checkpoint, else the last one, else ``None``.
    """

    run_dir: Path
    config: dict[str, Any]
    metrics: dict[str, list[tuple[int, float]]]
    steps: dict[int, int]
    health: list[dict[str, str]] | None
    alarms: list[dict[str, str]]
    checkpoint: Path | None

    @property
    def has_best(self) -> bool:
        """Whether a validation has chosen the checkpoint."""
        return self.checkpoint is not None and self.checkpoint.name == "best.ckpt"

    @cached_property
    def ending(self) -> Mapping[str, Any]:
        """What the best checkpoint says of its weights, see `Ending`; empty for an epoch."""
        if self.checkpoint is None or not self.has_best:
            return {}
        found: Mapping[str, Any] = read_checkpoint(self.checkpoint, map_location="meta").get(
            ENDING, {}
        )
        return found

    @property
    def holds_last(self) -> bool:
        """Whether the last epoch took the place of the best checkpoint, as the run asked for."""
        return holds_last_epoch(self.ending)

    @property
    def has_chosen(self) -> bool:
        """Whether the validation images chose the weights in the checkpoint, or when it ended."""
        return self.has_best and not is_unchosen(self.ending)

    @property
    def max_epochs(self) -> int | None:
        """The epochs that were planned, if they were."""
        epochs: int | None = self.config["trainer"]["max_epochs"]
        return epochs if epochs is not None and epochs >= 0 else None

    @property
    def epochs_done(self) -> int:
        """The epochs that were trained to their end."""
        return max((epoch + 1 for epoch, _ in self.metrics.get("train/loss", [])), default=0)

    @property
    def steps_per_epoch(self) -> int | None:
        """The optimizer steps of an epoch, as they were; ``None`` if no epoch was finished."""
        epoch = self.epochs_done - 1
        return None if epoch not in self.steps else (self.steps[epoch] + 1) // (epoch + 1)

    @property
    def best_epoch(self) -> int | None:
        """The epoch, from 0, of the best checkpoint: by the run's monitor, of equal ones by loss.

        A run that chooses its monitor by itself has written it into its configuration. An epoch
        whose metric is NaN is none: `BestCheckpoint` prefers each other one, and keeps that with
        the least loss where all are NaN.
        """
        points = [each for each in self.metrics.get(self.monitor, []) if not math.isnan(each[1])]
        if not points or not self.has_best:
            return None
        sign = 1 if MONITORS.get(self.monitor, "max") == "max" else -1
        losses = dict(self.metrics.get(TIES, []))
        best = max(points, key=lambda point: (sign * point[1], -losses.get(point[0], math.inf)))
        return best[0]

    @property
    def objective(self) -> Objective:
        """What kind of labels it learned."""
        objective: Objective = self.config.get("model", {}).get("objective", "single_label")
        return objective

    @property
    def monitor(self) -> str:
        """The metric that chose the best epoch."""
        monitor: str = self.config.get("monitor") or USUAL_MONITORS[self.objective]
        return monitor

    @property
    def monitor_words(self) -> str:
        """The metric that chose the best epoch, in words."""
        name = self.monitor.removeprefix("val/")
        return CURVES.get(name, name.replace("_", " "))

    @property
    def curves(self) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """What was measured in training and validation, by label of the metric and stage."""
        found: dict[str, dict[str, list[tuple[int, float]]]] = {}
        for name, label in CURVES.items():
            for stage in ("train", "val"):
                if points := self.metrics.get(f"{stage}/{name}"):
                    found.setdefault(label, {})[stage] = points
        return found

    def fit_command(self, *options: str | Path) -> str:
        """Return the command that repeats the run, with other options behind it."""
        resumed = self.config.get("ckpt_path") is not None and "--ckpt_path" not in options
        anew = ["--ckpt_path", "null"] if resumed else []
        config = self.run_dir / "config.yaml"
        return shell_command("tltool", "fit", "--config", config, *anew, *options)

    def checkpoint_command(self, command: str) -> str:
        """Return a command on the checkpoint and images of a directory to name."""
        where = ("--ckpt_path", str(self.checkpoint), "--data.root", "DIRECTORY")
        own = modules_option(self.config.get("model"))
        return shell_command("tltool", command, *where, *own)


def read_run(run_dir: Path) -> RunRecord:
    """Read a run directory.

    Raises:
        FileNotFoundError: If it is no run directory.
        ValueError: If its configuration is no configuration of ``fit``.
    """
    config_file = run_dir / "config.yaml"
    if not config_file.is_file():
        raise FileNotFoundError(
            f"{str(run_dir)!r} has no config.yaml. Name a run directory, for example runs/images/0."
        )
    config = _read_config(config_file)
    if config is None:
        raise ValueError(
            f"{str(config_file)!r} is not the whole configuration of a run, as tltool fit writes "
            "it. Name another run directory."
        )
    health, alarms, metrics = (
        read_rows(run_dir / name) if (run_dir / name).is_file() else None
        for name in (health_table.NAME, alarm_table.NAME, "metrics.csv")
    )
    epochs = [(int(row["epoch"]), row) for row in metrics or [] if row["epoch"]]
    points: dict[str, list[tuple[int, float]]] = {}
    for epoch, row in epochs:
        for name, value in row.items():
            if value and name not in {"epoch", "step"}:
                points.setdefault(name, []).append((epoch, float(value)))
    checkpoints = [run_dir / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]
    return RunRecord(
        run_dir=run_dir,
        config=config,
        metrics=points,
        steps={epoch: int(row["step"]) for epoch, row in epochs},
        health=health,
        alarms=alarms or [],
        checkpoint=next((path for path in checkpoints if path.is_file()), None),
    )


def is_run_config(file: Path) -> bool:
    """Tell whether a file is the whole configuration of a run, as ``fit`` writes it."""
    return file.is_file() and _read_config(file) is not None


def _read_config(file: Path) -> dict[str, Any] | None:
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    if not isinstance(config, Mapping):
        return None
    sections = (config.get(name) for name in (*MADE_AGAIN, "trainer"))
    return dict(config) if all(isinstance(each, Mapping) for each in sections) else None
