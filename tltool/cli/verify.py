"""`tltool verify`: replay some steps of a run or the images in an export, and say what differs."""

import argparse
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import docstring_parser
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar

from tltool._plain_text import one_line
from tltool.cli.build import Experiment, build
from tltool.cli.process import set_up_process
from tltool.cli.resumed_config import ResumedConfig
from tltool.cli.run_start import begin
from tltool.cli.run_trainer import run_trainer
from tltool.cli.sections import experiment_parser
from tltool.cli.short_forms import rewrite
from tltool.cli.signature_options import add_options_of
from tltool.reporting.wandb.run_tracking import WandbTracking
from tltool.training.callbacks.config_file import ConfigFile
from tltool.training.callbacks.early_end import EarlyEnd
from tltool.training.callbacks.ending import Ending
from tltool.training.callbacks.health_monitor import HealthMonitor
from tltool.training.callbacks.progress_lines import EpochLines
from tltool.training.callbacks.signal_stop import SignalStop
from tltool.training.callbacks.step_trace import StepTrace, describe_machine
from tltool.training.find_callback import find_callback
from tltool.training.resume_facts import RunFacts, new_images
from tltool.training.resume_rules import compare
from tltool.training.run_replay import Replay, find_replay
from tltool.training.step_records import NamedStep, find_difference

_SHOWN = 3
#: What saves, shows or ends a run, and changes no step of it.
_LEFT_OUT = (
    *(ModelCheckpoint, ProgressBar, EpochLines, HealthMonitor),
    *(SignalStop, EarlyEnd, Ending, WandbTracking, ConfigFile),
)


def main(argv: Sequence[str]) -> int:
    """Run ``tltool verify``."""
    parser = argparse.ArgumentParser(
        "tltool verify",
        usage="tltool verify [-h] RUN_OR_FILE [options of fit]",
        description=docstring_parser.parse(verify.__doc__ or "").short_description,
        epilog="Options of fit say what has moved since, such as --data.root FOLDER.",
        allow_abbrev=False,
    )
    add_options_of(verify, parser, skip={"changes"})
    given, changes = parser.parse_known_args(list(argv[1:]))
    return verify(given.run, changes=changes)


def verify(run: Path, *, changes: Sequence[str] = ()) -> int:
    """Replay steps of a run, or the images in an exported file, and say what differs, if anything.

    Nothing is written into the run. Trained again are the first steps behind a checkpoint that is
    not the last, or those of the start: the weights in front of each, what it reads and its loss
    are compared with what the run has kept.

    Args:
        run: A run's directory, such as runs/images/0, or an .onnx file of tltool export.
        changes: Options of ``fit`` in place of those of the run.

    Returns:
        1 if anything differs, else 0.

    Raises:
        ValueError: If the run cannot be replayed here.
    """
    if run.is_file():
        return _verify_file(run)
    set_up_process()
    logging.getLogger("tltool").setLevel(logging.ERROR)  # A replay tells no story of a training.
    replay = find_replay(run)
    num_ranks = replay.facts.get("world_size", 1)
    if num_ranks != 1:
        raise ValueError(
            f"{str(run)!r} was trained by {num_ranks} processes, and verify replays steps of one: "
            "each saw its own share of a batch. Verify a run of one process."
        )
    with tempfile.TemporaryDirectory(prefix="tltool-verify-") as folder:
        experiment = _experiment(replay, folder, changes)
        _print_changes(replay, experiment)
        print(f"replay     {replay.place}", flush=True)
        named = _train(experiment, replay)
    return _print_outcome(replay, named)


def _verify_file(file: Path) -> int:
    """Replay the golden images of an exported file."""
    if file.suffix == ".ckpt":
        raise ValueError(
            f"{str(file)!r} is a checkpoint. Name the directory of its run, such as runs/images/0, "
            "or a file that tltool export has written."
        )
    from tltool.inference.export.verification import verify_export  # It needs onnxruntime.

    check = verify_export(file)
    for line in check.lines():
        print(one_line(line))
    return 0 if check.agrees else 1


def _experiment(replay: Replay, folder: str, changes: Sequence[str]) -> Experiment:
    """Build what the run trained, to be trained in another directory, unseen by loggers."""
    parser = experiment_parser("verify")
    start = None
    if replay.ckpt_path:  # By its own path, what is resumed would go on in the run's directory.
        start = Path(folder, replay.ckpt_path.name)
        start.symlink_to(replay.ckpt_path.absolute())
    elsewhere = {
        "ckpt_path": start or "null",
        "runs_dir": folder,
        "name": "replay",
        "wandb.project": "null",
        "trainer.logger": "false",
        "trainer.enable_progress_bar": "false",
        "save_every": "null",
        "save_every_n_steps": "null",
    }
    words = [f"--config={replay.config_file}", *rewrite(["--run_dir=null", *changes])]
    config = parser.parse_args([*words, *(f"--{key}={value}" for key, value in elsewhere.items())])
    return build(parser, config, begin(parser, config))


class _Replayed(Callback):
    """End a training behind so many batches, as nothing else would: without a validation."""

    class Done(Exception):  # noqa: N818  # it is no error
        """Enough was trained."""

    def __init__(self, num_steps: int) -> None:
        self.num_left = num_steps

    def on_train_batch_end(self, *args: object) -> None:
        self.num_left -= 1
        if not self.num_left:
            raise self.Done


def _train(experiment: Experiment, replay: Replay) -> list[NamedStep]:
    """Train the steps again, and return them."""
    trainer = run_trainer(experiment)
    kept = [each for each in _callbacks(trainer) if not isinstance(each, _LEFT_OUT)]
    trainer.callbacks = [*kept, _Replayed(len(replay.steps))]  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        # The checkpoint knows those that are left out.
        warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")
        try:
            trainer.fit(
                experiment.task,
                datamodule=experiment.data,
                ckpt_path=experiment.start.ckpt_path,
                weights_only=True,
            )
        except _Replayed.Done:
            trace = find_callback(trainer, StepTrace)
            assert trace is not None  # noqa: S101  # run_trainer put it there
            return trace.named
    raise ValueError("The training ended before its steps were replayed. Look at its `trainer`.")


def _callbacks(trainer: Trainer) -> list[Callback]:
    found: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    return found


def _print_changes(replay: Replay, experiment: Experiment) -> None:
    """Say what is no more as it was, be it of consequence or not."""
    resumed = ResumedConfig(str(replay.newest))
    splits, known = experiment.data.splits, replay.facts.get("images", {})
    found = [
        *resumed.changes(_without_elsewhere(experiment.plain_config, resumed.config)),
        *RunFacts.of(splits, 1, known).differences(replay.facts),
    ]
    device = experiment.device_trainer().strategy.root_device
    found += compare(replay.machine, describe_machine(device))
    for difference in found:
        print(f"changed    {one_line(difference.words)}")
    names = new_images(known, splits) if known else []
    for name in names[:_SHOWN]:
        print(f"new        {one_line(name.lstrip('/'))}")


def _without_elsewhere(config: dict[str, object], before: dict[str, object]) -> dict[str, object]:
    """Return a configuration with what verify itself has changed as it was."""
    moved = ("runs_dir", "name", "wandb", "save_every", "save_every_n_steps")
    trainer = dict(config["trainer"])  # type: ignore[call-overload]
    for key in ("logger", "enable_progress_bar"):
        trainer[key] = before.get("trainer", {}).get(key)  # type: ignore[attr-defined]
    return {**config, **{key: before.get(key) for key in moved}, "trainer": trainer}


def _print_outcome(replay: Replay, named: Sequence[NamedStep]) -> int:
    found = find_difference(replay.steps, named)
    if found is None:
        print("same bits: the weights in front of each step, what it reads, and its loss")
        return 0
    step, words = found
    for line in words:
        print(one_line(line))
    print(f"differs    first at step {step + 1}, in epoch {replay.steps[0].epoch + 1}")
    return 1
