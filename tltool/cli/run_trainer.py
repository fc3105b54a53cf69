"""The Trainer of `tltool fit`: run directory, loggers, callbacks, and the configuration kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar

from tltool._objective import MONITORS
from tltool.cli.build import Experiment
from tltool.cli.trainer_section import log_interval
from tltool.reporting.wandb.logger import wandb_logger
from tltool.reporting.wandb.run_tracking import WandbTracking
from tltool.training.average_start import AverageStart
from tltool.training.callbacks.agreed_epochs import AgreedEpochs
from tltool.training.callbacks.agreed_start import AgreedStart
from tltool.training.callbacks.checkpoints import (
    BestCheckpoint,
    EpochCheckpoints,
    LastCheckpoint,
)
from tltool.training.callbacks.config_file import ConfigFile
from tltool.training.callbacks.divergence import Divergence
from tltool.training.callbacks.early_end import EarlyEnd
from tltool.training.callbacks.ending import Ending
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.callbacks.label_thresholds import LabelThresholds
from tltool.training.callbacks.progress_lines import EpochBar, EpochLines
from tltool.training.callbacks.same_run import SameRun
from tltool.training.callbacks.signal_stop import SignalStop
from tltool.training.callbacks.step_trace import StepTrace
from tltool.training.checkpoint_io import AtomicCheckpointIO
from tltool.training.csv_logger import CSVMetrics
from tltool.training.distributed.cluster_environment import cluster_environment
from tltool.training.distributed.fsdp2 import sharded_strategy
from tltool.training.distributed.launch import find_launch
from tltool.training.distributed.started_ranks import meet_started_ranks_
from tltool.training.distributed.strategies import limit_time_, strategy_of


def run_trainer(experiment: Experiment) -> Trainer:
    """Create the run directory, loggers and callbacks, and the trainer with them.

    Raises:
        ValueError: If the section ``trainer`` cannot be used here.
    """
    config, made = experiment.config, experiment.made
    if made.trainer.enable_checkpointing is False:
        raise ValueError(
            "`trainer.enable_checkpointing: false` would leave no best.ckpt, and nothing to resume "
            "or report from. Leave it out; `--trainer.fast_dev_run true` tries a run and keeps "
            "nothing."
        )
    if made.trainer.default_root_dir is not None:
        raise ValueError(
            "`trainer.default_root_dir` is the directory of the run. Leave it out, and set "
            "--runs_dir and --name."
        )
    run_dir = experiment.run_dir
    loggers = [CSVMetrics(run_dir), wandb_logger(run_dir, **config.wandb)]
    monitor = config.monitor or MONITORS[made.model.objective]
    given: dict[str, Any] = dict(made.trainer)
    if given.get("log_every_n_steps") is None:
        given["log_every_n_steps"] = log_interval(experiment.steps_per_epoch)
    last = LastCheckpoint(run_dir / "checkpoints", config.save_every_n_steps)
    own = {
        "logger": [*filter(None, loggers), *_as_list(given.get("logger"))],
        "callbacks": [
            AgreedStart(experiment.start.facts),
            same_run(experiment),
            Divergence(),
            *([AgreedEpochs()] if experiment.has_measured_epochs else []),
            Finetuning(experiment.strategy),
            made.features,
            made.health,
            StepTrace(experiment.plain_config),
            BestCheckpoint(run_dir / "checkpoints", monitor),
            *_soup_checkpoints(made.ending, run_dir / "checkpoints", monitor),
            last,
            SignalStop(last, config.save_every, config.grace_period),
            EpochLines(),
            *_bar(given),
            AverageStart(),  # In front of the user's, whose average it starts.
            *_as_list(given.get("callbacks")),
            EarlyEnd(),
            made.ending,  # Behind those that change weights when training ends.
            LabelThresholds(),
            WandbTracking(experiment.plain_config),  # It sends what the end has chosen.
            ConfigFile(run_dir / "config.yaml", experiment.parser.dump(config, skip_unset=False)),
        ],
        "plugins": [AtomicCheckpointIO(), *_plugins(given)],
        "strategy": sharded_strategy(strategy_of(given["strategy"])),
        # Lightning resumes from `hpc_ckpt_*` in here: elsewhere they may be of another job.
        "default_root_dir": run_dir,
    }
    try:
        trainer = Trainer(**(given | own))
    except (ValueError, MisconfigurationException) as error:
        raise ValueError(f"The trainer section cannot be used here: {error}") from error
    limit_time_(trainer.strategy)
    meet_started_ranks_(trainer)
    return trainer


def same_run(experiment: Experiment) -> SameRun:
    """Return what compares the configuration of the ranks, but for what each finds for itself."""
    # Each rank has measured its own number of epochs, and `AgreedEpochs` takes that of rank 0.
    measured = {"trainer.max_epochs"} if experiment.has_measured_epochs else set()
    return SameRun(experiment.plain_config, frozenset(measured))


def _plugins(given: Mapping[str, Any]) -> list[Any]:
    """Return the user's plugins, and the environment of the launcher if they have none."""
    plugins = _as_list(given.get("plugins"))
    is_given = any(isinstance(plugin, ClusterEnvironment) for plugin in plugins)
    is_given |= getattr(given["strategy"], "cluster_environment", None) is not None
    return plugins if is_given else [*plugins, cluster_environment(find_launch())]


def _bar(given: Mapping[str, Any]) -> list[Callback]:
    """Return our progress bar, unless the user has one or wants none."""
    has_own = any(isinstance(each, ProgressBar) for each in _as_list(given.get("callbacks")))
    return [] if has_own or given.get("enable_progress_bar") is False else [EpochBar()]


def _soup_checkpoints(ending: Ending, directory: Path, monitor: str) -> list[Callback]:
    """Return what keeps the epochs that a soup is made of."""
    is_soup = ending.average == "soup"
    return [EpochCheckpoints(directory, ending.keep, monitor)] if is_soup else []


def _as_list(value: Any) -> list[Any]:
    # `logger: false` turns off only what would be added.
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list) else [value]
