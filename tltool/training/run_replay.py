"""Replay of a run: which checkpoint it can be resumed from, and the steps that come behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tltool.training.callbacks.ending_files import is_left_by_training
from tltool.training.callbacks.step_trace import StepTrace
from tltool.training.checkpoint_io import read_checkpoint
from tltool.training.epoch_position import read_position
from tltool.training.newest_checkpoint import newest_checkpoint
from tltool.training.step_records import StepRecord, config_digest


@dataclass(frozen=True)
class Replay:
    """What of a run can be trained again, bit for bit.

    Attributes:
        newest: The newest checkpoint, which knows the run.
        ckpt_path: The one to resume from; ``None`` for the start of the run.
        steps: What came behind it.
        config_file: The configuration that counted then; ``config.yaml`` if none in the directory
            is it any more.
        facts: What the run was trained with: images, versions, commit, number of ranks.
        machine: What it was trained on, see `describe_machine`.
    """

    newest: Path
    ckpt_path: Path | None
    steps: list[StepRecord]
    config_file: Path
    facts: Mapping[str, Any]
    machine: Mapping[str, Any]

    @property
    def place(self) -> str:
        """What is replayed, in words."""
        num_steps = len(self.steps)
        words = f"{num_steps} {'step' if num_steps == 1 else 'steps'}"
        start = self.ckpt_path.name if self.ckpt_path else "the start of the run"
        return f"{words} of epoch {self.steps[0].epoch + 1}, from {start}"


def find_replay(run_dir: Path) -> Replay:
    """Return what of a run can be replayed: behind its newest checkpoint that has steps behind it.

    Where only the last epoch was kept, these are the first steps of the run.

    Raises:
        FileNotFoundError: If the directory holds no run, or no checkpoint.
        ValueError: If the run has kept no steps.
    """
    newest = newest_checkpoint(run_dir)
    if newest is None or not (run_dir / "config.yaml").is_file():
        raise FileNotFoundError(
            f"{str(run_dir)!r} has no checkpoint to replay from, or no config.yaml. Name a run "
            "directory, for example runs/images/0."
        )
    known = read_checkpoint(newest)
    trace = known.get("callbacks", {}).get(StepTrace.__qualname__, {"steps": [], "machine": {}})
    steps = [StepRecord(**step) for step in trace["steps"]]
    ckpt_path, behind = _resumable(run_dir, steps)
    if not behind:
        raise ValueError(
            f"{newest.name} of {str(run_dir)!r} holds no steps to compare with: it was written by "
            "a version of tltool that kept none, before the first step, or in another run's "
            "continuation. Train it again to verify it later."
        )
    facts = known.get("run_facts", {})
    config_file = _config_file(run_dir, behind[0].config)
    return Replay(newest, ckpt_path, behind, config_file, facts, trace["machine"])


def _resumable(run_dir: Path, steps: Sequence[StepRecord]) -> tuple[Path | None, list[StepRecord]]:
    """Return the newest checkpoint with steps behind it, and these; none for the start."""
    found: list[tuple[int, Path, list[StepRecord]]] = []
    for path in (run_dir / "checkpoints").glob("*.ckpt"):
        next_epoch = _next_epoch(path)
        behind = [step for step in steps if step.epoch == next_epoch]
        if next_epoch and behind and behind[0].batch == 0:
            found.append((next_epoch, path, behind))
    if found:
        _, path, behind = max(found)
        return path, behind
    begin = [step for step in steps if step.epoch == 0]
    return None, begin if begin and begin[0].step == begin[0].batch == 0 else []


def _next_epoch(path: Path) -> int | None:
    """Return the epoch that a checkpoint is resumed with; ``None`` where that is not at its start.

    What `Ending` has chosen is the state of no training.
    """
    if not path.is_file():  # A directory of shards.
        return None
    checkpoint = read_checkpoint(path, map_location="meta")
    if "loops" not in checkpoint or not is_left_by_training(checkpoint):
        return None
    position = read_position(checkpoint["loops"]["fit_loop"])
    if position.batches and not position.is_over:
        return None
    return position.epoch + position.is_over


def _config_file(run_dir: Path, digest: str) -> Path:
    now = run_dir / "config.yaml"
    for path in (now, *sorted(run_dir.glob("config.*.yaml"))):
        if config_digest(yaml.safe_load(path.read_text("utf-8"))) == digest:
            return path
    return now
