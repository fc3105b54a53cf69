"""`tltool fit`: fine-tune from YAML, flags, or nothing but a directory of images."""

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from torch import nn

from tltool._plain_text import one_line, pixel_size
from tltool.cli.build import Experiment, run_experiment
from tltool.cli.fit_calibration import calibrate_fit, print_calibration
from tltool.cli.fit_end import print_best, print_next, print_outcome
from tltool.cli.fit_features import best_features, fit_front
from tltool.cli.fit_gain import measure_fit, print_probe
from tltool.cli.fit_seeds import SeedRuns, check_seeds, train_seeds, without_seeds
from tltool.cli.fit_trust import print_trust, trust_fit
from tltool.cli.run_trainer import run_trainer
from tltool.cli.short_yaml import short_yaml
from tltool.cli.surgery_damage import print_surgery
from tltool.cli.trainer_section import describe_cut, take_launch
from tltool.data.transforms.crop_mode import crop_mode_name
from tltool.inference.run_gain import RunGain
from tltool.reporting.wandb.run_logger import RunLogger, find_logger, finish, log_checkpoints
from tltool.training.callbacks.early_end import EarlyEnd, end_reason
from tltool.training.callbacks.signal_stop import leave_together
from tltool.training.distributed.launch import find_launch
from tltool.training.distributed.rank_watch import RankWatch
from tltool.training.distributed.run_status import StatusOf, read_status
from tltool.training.distributed.signals import SIGNALS, SignalStopped
from tltool.training.find_callback import find_callback
from tltool.training.run_directory import number_given_back
from tltool.training.run_lock import TrainedMeanwhile, check_untouched, locked_run_dir


def main(argv: Sequence[str]) -> int:
    """Run ``tltool fit``, with one seed or several."""
    words = argv[1:]
    has_file = any(word.startswith(("-c", "--config")) for word in words)
    asked, gains = list[SeedRuns](), list[RunGain]()
    status = run_fit(words, fit, shows_yaml=not has_file, asked=asked, gains=gains)
    if status or not asked or asked[0].number == 1:
        return status

    def train(options: Sequence[str]) -> RunGain | None:
        own = list[RunGain]()
        run_fit([*without_seeds(words), *options], fit, shows_yaml=False, gains=own)
        return own[0] if own else None

    train_seeds(asked[0], gains[0] if gains else None, train)
    return 0


def run_fit(
    words: Sequence[str],
    run: Callable[..., None],
    *,
    shows_yaml: bool,
    asked: list[SeedRuns] | None = None,
    gains: list[RunGain] | None = None,
) -> int:
    """Read a configuration, watch the other ranks, and train, unless the run is over.

    Args:
        words: What stands behind ``fit`` on a command line.
        run: Takes what `fit` takes.
        shows_yaml: See `fit`.
        asked: Takes what is asked of seeds.
        gains: See `fit`.
    """

    def check(config: Namespace) -> None:
        take_launch(config.trainer)
        (asked if asked is not None else []).append(check_seeds(config))

    given: dict[str, Any] = {"shows_yaml": shows_yaml, "gains": gains}
    with RankWatch(find_launch()) as ranks:
        SIGNALS.end_at_once()  # Also one that came in the end of the seed before.
        start = partial(run_experiment, "fit", words, run, check=check, trains=True, ranks=ranks)
        try:
            return start(**given)
        except TrainedMeanwhile:  # What lies there now counts, and not what did in front of it.
            if ranks.launch.world_size > 1:  # The others have begun from there.
                raise
            return start(**given)


def fit(
    experiment: Experiment,
    *,
    seeds: int = 1,
    shows_yaml: bool = False,
    ranks: RankWatch | None = None,
    gains: list[RunGain] | None = None,
) -> None:
    """Train, and say before what, and after how well.

    Args:
        experiment: What to train.
        seeds: Train with so many seeds, from --seed_everything on, each in a directory of its own,
            and say how far the results spread.
        shows_yaml: Print the configuration as YAML to keep.
        ranks: Those that train; ``None`` for one process.
        gains: Takes the gain over the probe, if it is measured.

    Raises:
        TrainedMeanwhile: If another process has trained in the run directory since the start was
            chosen: while this one waited for the lock, or in front of it.
    """
    del seeds  # This is one of them: `main` trains the others.
    run_dir, is_numbered = experiment.run_dir, experiment.start.run_dir is None
    given_back = number_given_back(run_dir) if is_numbered else contextlib.nullcontext()
    with given_back, locked_run_dir(run_dir):
        if not is_numbered:
            check_untouched(run_dir, experiment.start.file_times)
        gain = _fit(experiment, shows_yaml=shows_yaml, ranks=ranks)
    if gain is not None and gains is not None:
        gains.append(gain)


def _fit(experiment: Experiment, *, shows_yaml: bool, ranks: RankWatch | None) -> RunGain | None:
    """Train, and keep in `status.json` how the run is and how it ends."""
    SIGNALS.check()
    trainer = run_trainer(experiment)
    is_kept = trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]
    status = StatusOf(experiment.run_dir) if is_kept else contextlib.nullcontext()
    with status, ranks.naming_losses() if ranks else contextlib.nullcontext():
        try:
            return _train(experiment, trainer, shows_yaml=shows_yaml, ranks=ranks)
        except SignalStopped as stop:
            SIGNALS.defer()
            finish(trainer)
            if stop.has_agreed:
                leave_together(trainer)
            raise


def _train(
    experiment: Experiment, trainer: Trainer, *, shows_yaml: bool, ranks: RankWatch | None
) -> RunGain | None:
    if trainer.is_global_zero:
        _print_start(experiment, trainer)
        if shows_yaml:
            text = short_yaml(experiment.plain_config, experiment.backbone.weights)
            print("\nThis run as YAML, to keep and change (tltool fit --config FILE):")
            print(text)
    start, status = time.monotonic(), read_status(experiment.run_dir)
    print_surgery(experiment, trainer)
    front = fit_front(experiment, trainer)
    probe = print_probe(experiment, trainer, front)
    SIGNALS.check()
    if ranks is not None:
        ranks.wait("probe")  # It may take longer than a process group may wait.
    trainer.fit(
        experiment.task,
        datamodule=experiment.data,
        ckpt_path=experiment.start.ckpt_path,
        weights_only=True,  # Nothing but tensors and plain data is unpickled.
    )
    best = best_features(experiment, trainer, front)
    # In front of what fits the head on its images.
    calibration = calibrate_fit(experiment, trainer, best)
    gain = measure_fit(experiment, trainer, probe, best) if probe else None
    trust = trust_fit(experiment, trainer, best)  # Behind what fits the head anew.
    log_checkpoints(trainer)  # As they stay.
    finish(trainer)
    _check_trained(experiment, trainer)
    is_try = trainer.fast_dev_run  # type: ignore[attr-defined]  # Trainer sets it
    if not trainer.is_global_zero or is_try:
        return gain
    print_best(experiment.run_dir, trainer)
    if calibration:
        print_calibration(calibration)
    if trust:
        print_trust(trust)
    print_outcome(gain, time.monotonic() - start, earlier=status.seconds if status else 0.0)
    print_next(experiment.run_dir, gain, experiment.plain_config)
    return gain


def _check_trained(experiment: Experiment, trainer: Trainer) -> None:
    """Say why nothing was trained, if so: an error, but for a run that was over already."""
    ending = find_callback(trainer, EarlyEnd)
    if ending is None or ending.has_trained:
        return
    if experiment.start.ckpt_path is None:
        raise ValueError(f"Nothing was trained: {end_reason(trainer)}.")
    if trainer.is_global_zero:
        print(f"nothing left to train: {end_reason(trainer)}")


def _print_start(experiment: Experiment, trainer: Trainer) -> None:
    backbone, task = experiment.backbone, experiment.task
    crop_mode = crop_mode_name(task.data_config)
    crop = "" if crop_mode == "center" else f" crop_mode {crop_mode},"
    logger = find_logger(trainer)
    if isinstance(logger, RunLogger):
        print(f"wandb     {logger.describe()}")
    print(
        f"backbone  {backbone.name}, weights {backbone.weights}, "
        f"{pixel_size(task.data_config['input_size'])} px,{crop} {_count(backbone):,} parameters"
    )
    print(f"head      {type(task.head).__name__}, {_count(task.head):,} parameters")
    print(f"data      {one_line(experiment.data.summary())}")
    if experiment.choice:
        print(f"chosen    {one_line(experiment.choice)}")
    print(f"run       {one_line(experiment.run_dir)}")
    has_epochs = experiment.start.has_epochs or experiment.has_measured_epochs
    section, steps = experiment.config.trainer, experiment.steps_per_epoch
    if cut := describe_cut(section, steps, has_epochs=has_epochs):
        print(f"length    {cut}")
    if trainer.world_size > 1:
        print(f"ranks     {trainer.world_size}: {_nodes(trainer)}")
    for change in experiment.start.changes:
        print(f"resume    {one_line(change)}")


def _nodes(trainer: Trainer) -> str:
    nodes, devices = trainer.num_nodes, trainer.num_devices
    words = f"{nodes} {'node' if nodes == 1 else 'nodes'}"
    return f"{words} of {devices} {'device' if devices == 1 else 'devices'}"


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
