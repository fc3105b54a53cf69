"""Log directory of a plain Lightning Trainer: metrics, hyperparameters, checkpoints."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tltool._csv_rows import read_rows
from tltool.diagnostics.health import alarm_table, health_table
from tltool.reporting.run_record import is_run_config
from tltool.training.checkpoint_io import read_checkpoint

METRICS, HPARAMS = "metrics.csv", "hparams.yaml"
_PLACE = {"epoch", "step"}
# How most modules name what they log: train_loss, val/acc, train_loss_epoch.
_NAME = re.compile(
    r"(?:(?P<stage>train|training|val|valid|validation|test)[/_])?"
    r"(?P<label>.+?)(?P<every>_step|_epoch)?"
)
Points = Sequence[tuple[int, float]]
"""(epoch, value) pairs, epochs from 0."""


@dataclass(frozen=True)
class LightningLog:
    """A log directory, read.

    Attributes:
        log_dir: Where it lies.
        metrics: The last value of each epoch, by name.
        hparams: What ``hparams.yaml`` says of the training.
        own: Checkpoints of tltool, which can predict.
        foreign: Checkpoints that do not say how to rebuild their model.
        missing: What is not there or cannot be read, in sentences.
        health: Rows of ``health.csv``, which `HealthMonitor` writes; ``None`` without one.
        alarms: Rows of ``alarms.csv``.
    """

    log_dir: Path
    metrics: Mapping[str, Points]
    hparams: Mapping[str, Any]
    own: Sequence[Path]
    foreign: Sequence[Path]
    missing: Sequence[str]
    health: list[dict[str, str]] | None = None
    alarms: Sequence[dict[str, str]] = ()

    @property
    def curves(self) -> dict[str, dict[str, Points]]:
        """The metrics by label and stage, where their names tell these, to be drawn together."""
        found: dict[str, dict[str, Points]] = {}
        for name, points in self.metrics.items():
            match = _NAME.fullmatch(name)
            assert match is not None  # noqa: S101  # it matches any name
            whole_epochs = f"{name.removesuffix('_step')}_epoch"
            if match["every"] == "_step" and whole_epochs in self.metrics:
                continue  # The epoch's own value says more than that of its last step.
            found.setdefault(match["label"], {})[match["stage"] or match["label"]] = points
        return found


def is_lightning_log(folder: Path) -> bool:
    """Tell whether a directory is of a plain Lightning Trainer, and no run directory of `fit`."""
    has_log = (folder / METRICS).is_file() or (folder / HPARAMS).is_file()
    config = folder / "config.yaml"  # LightningCLI writes one too.
    is_damaged_run = config.is_file() and not (folder / HPARAMS).is_file()
    return has_log and not is_damaged_run and not is_run_config(config)


def read_lightning_log(folder: Path) -> LightningLog:
    """Read what a Trainer has left in its log directory.

    Raises:
        ValueError: If no metric was logged.
    """
    missing = list[str]()
    metrics = _read_metrics(folder / METRICS)
    if not metrics:
        raise ValueError(
            f"{str(folder)!r} has no {METRICS} with numbers, so there is nothing to show. "
            "Train with Lightning's CSVLogger, such as Trainer(logger=CSVLogger('logs')), and log "
            "metrics; or by tltool fit, whose run directories a report reads whole."
        )
    hparams = _read_hparams(folder / HPARAMS, missing)
    own, foreign = list[Path](), list[Path]()
    for path in sorted(folder.rglob("*.ckpt")):
        (own if _is_own(path) else foreign).append(path)
    health, alarms = (
        read_rows(folder / name) if (folder / name).is_file() else None
        for name in (health_table.NAME, alarm_table.NAME)
    )
    return LightningLog(folder, metrics, hparams, own, foreign, missing, health, alarms or [])


def _read_metrics(file: Path) -> dict[str, list[tuple[int, float]]]:
    last: dict[str, dict[int, float]] = {}
    epoch = 0
    for row in read_rows(file) if file.is_file() else []:
        # A callback such as LearningRateMonitor logs without the epoch: it is that of its time.
        epoch = int(_number(row.get("epoch")) or 0) if row.get("epoch") else epoch
        for name, text in row.items():
            value = _number(text)
            if name not in _PLACE and value is not None:
                last.setdefault(name, {})[epoch] = value
    return {name: sorted(values.items()) for name, values in last.items()}


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:  # A cell with words.
        return None


def _read_hparams(file: Path, missing: list[str]) -> dict[str, Any]:
    if not file.is_file():
        missing.append(f"There is no {HPARAMS}: the module did not call save_hyperparameters().")
        return {}
    try:
        hparams = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        missing.append(f"{HPARAMS} holds more than plain data, which is not read.")
        return {}
    return dict(hparams) if isinstance(hparams, Mapping) else {}


def _is_own(checkpoint: Path) -> bool:
    try:
        read_checkpoint(checkpoint, map_location="meta")
    except (OSError, ValueError):  # Of another program, or damaged.
        return False
    return True
