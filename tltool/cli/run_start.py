"""What a run begins with: its directory, and the checkpoint in it that it resumes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import seed_everything
from lightning.pytorch.utilities import rank_zero_only

from tltool.cli.auto_choice import (
    check_budget,
    take_batch_size_of_checkpoint,
    take_choice_of_checkpoint,
)
from tltool.cli.parser import Parser
from tltool.cli.resumed_config import ResumedConfig, plain_config
from tltool.finetuning.strategies.auto import EPOCHS
from tltool.training.newest_checkpoint import newest_checkpoint
from tltool.training.resume_rules import Difference
from tltool.training.run_directory import check_run_dir, resumed_run_dir
from tltool.training.run_lock import file_times

_warn = rank_zero_only(logging.getLogger(__name__).warning)

AUTO = "auto"
"""As ``ckpt_path``: the newest whole checkpoint of the run directory."""


@dataclass(frozen=True)
class RunStart:
    """Where a run lies, and what it resumes.

    Attributes:
        run_dir: Its directory, whether it is there or not; ``None`` for a new one with a number.
        ckpt_path: The checkpoint to resume; ``None`` for a start from the beginning.
        resumed: What that was trained with.
        is_found: Whether it was found in ``run_dir``, and not named.
        has_epochs: Whether the number of epochs is given, or that of the checkpoint.
        changes: What the configuration changes of that in the checkpoint.
        file_times: Those of ``run_dir`` before it was looked into.
    """

    run_dir: Path | None = None
    ckpt_path: str | None = None
    resumed: ResumedConfig | None = None
    is_found: bool = False
    has_epochs: bool = True
    changes: Sequence[Difference] = ()
    file_times: Mapping[str, int] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """What must be the same on all ranks, by name."""
        return {
            "run directory": self.run_dir and str(self.run_dir.absolute()),
            "checkpoint": self.ckpt_path and Path(self.ckpt_path).name,
            "step of the checkpoint": self.resumed and self.resumed.num_steps,
        }


def begin(parser: Parser, config: Namespace) -> RunStart:
    """Find what a configuration begins with, and fill in what the checkpoint decides.

    Args:
        parser: What has read the configuration.
        config: It is changed in place: seed, epochs, and what a run has chosen when it began.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the options contradict each other, or the checkpoint cannot be resumed with
            this configuration.
    """
    start = find_start(config)
    resumed = start.resumed
    if resumed:
        take_choice_of_checkpoint(config, resumed.config)
        take_batch_size_of_checkpoint(config, resumed.config)
    check_budget(config)
    has_epochs = config.trainer.max_epochs is not None
    if not has_epochs:
        config.trainer.max_epochs = EPOCHS
    _set_seed(config, resumed.seed if resumed else None)
    changes = resumed.differences(plain_config(parser, config)) if resumed else ()
    return replace(start, has_epochs=has_epochs, changes=changes)


def find_start(config: Namespace) -> RunStart:
    """Return where the run of a configuration lies, and which checkpoint it resumes.

    Args:
        config: The configuration. Its ``run_dir``, and a ``ckpt_path`` in the run's own directory,
            are taken out: they say where a process finds the run, and not what the run is.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the options contradict each other, or the checkpoint cannot be used.
    """
    named: str | None = config.ckpt_path
    if config.run_dir is not None:
        run_dir = check_run_dir(config.run_dir)
        _check_same_place(config, run_dir)
        times = file_times(run_dir)
        start = replace(_start_in(run_dir, None if named == AUTO else named), file_times=times)
    elif named == AUTO:
        raise ValueError(
            "`ckpt_path: auto` is the newest checkpoint of a run directory, and none is guessed. "
            "Set --run_dir too, such as --run_dir runs/mine."
        )
    else:
        own = resumed_run_dir(named)
        times = file_times(own) if own else {}
        resumed = ResumedConfig(named) if named else None
        start = RunStart(own, named, resumed, file_times=times)
    config.run_dir = None
    place = start.run_dir
    if place and (named == AUTO or start.is_found or (named and _is_below(named, place))):
        config.ckpt_path = None
    return start


def _start_in(run_dir: Path, named: str | None) -> RunStart:
    """Return the start in a given directory: its own progress comes before a named checkpoint."""
    newest = None if named and _is_below(named, run_dir) else newest_checkpoint(run_dir)
    if newest is None:
        return RunStart(run_dir, named, ResumedConfig(named) if named else None)
    if named is not None:
        _warn("%s has begun before: it resumes its own %s, not %s.", run_dir, newest.name, named)
    return RunStart(run_dir, str(newest), ResumedConfig(str(newest)), is_found=True)


def _check_same_place(config: Namespace, run_dir: Path) -> None:
    """Raise if ``runs_dir`` and ``name`` are another place than ``run_dir``."""
    kept = run_dir / "config.yaml"  # It says what the run began with, wherever it lies now.
    before: dict[str, Any] = yaml.safe_load(kept.read_text("utf-8")) if kept.is_file() else {}
    others = [
        f"`{name}: {config[name]}`"
        for name, usual in (("runs_dir", "runs"), ("name", None))
        if config[name] not in (usual, before.get(name))
    ]
    if others and not _is_below(run_dir, Path(config.runs_dir, config.name or "")):
        raise ValueError(
            f"`run_dir: {run_dir}` is the place of the run, and {' and '.join(others)} is another. "
            "Leave out one of them; --run_dir null or --name null takes back what a file says."
        )


def _is_below(path: str | Path, directory: Path) -> bool:
    place = directory.expanduser().resolve()
    return Path(path).expanduser().resolve().is_relative_to(place)


def _set_seed(config: Namespace, seed_before: int | None) -> None:
    """Seed all random numbers; a resumed run with a random seed goes on with that it had."""
    seed = config.seed_everything
    if seed is not False:
        config.seed_everything = seed_everything(
            seed_before if seed is True else seed, workers=True
        )
