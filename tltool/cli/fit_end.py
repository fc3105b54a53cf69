"""The last screen of a fit: what came out, whether it won, and what to type next."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from tltool._plain_text import one_line, shell_command
from tltool.cli.fit_gain import outcome, where_measured
from tltool.evaluation.verdict import Mark
from tltool.finetuning.durations import describe_duration
from tltool.inference.run_gain import RunGain
from tltool.models.class_paths import modules_option
from tltool.reporting.run_record import MADE_AGAIN, read_run
from tltool.reporting.run_verdict import what_next
from tltool.training.callbacks.checkpoints import BestCheckpoint
from tltool.training.callbacks.ending_files import ENDING
from tltool.training.checkpoint_io import read_checkpoint


def print_best(run_dir: Path, trainer: Trainer) -> None:
    """Print which checkpoint there is, and why it is the best."""
    best = trainer.checkpoint_callback
    assert isinstance(best, BestCheckpoint)  # noqa: S101  # run_trainer put it there
    kept = _kept_checkpoint(run_dir)
    if kept.name == "last.ckpt":
        print(f"\nlast {one_line(kept)}: without a validation there is no best epoch")
        return
    # What it says of itself: other weights, or a best epoch by another metric, may lie there, and
    # of a run that was over already `best` knows the best epoch alone.
    checkpoint = read_checkpoint(kept)
    state = best.state_in(checkpoint)
    monitor, score = state.get("monitor", best.monitor), state.get("best_model_score")
    if score is not None and math.isfinite(score):
        print(f"\nbest {monitor} {float(score):.4f}: {one_line(kept)}")
    elif score is not None:  # Of epochs whose metric is NaN, Lightning keeps infinity.
        print(f"\nbest {one_line(kept)}: its {monitor} is no finite number")
    elif ending := checkpoint.get(ENDING):
        print(f"\nbest {one_line(kept)}: the {ending['candidate']}, whose {monitor} is not known")
    else:
        print(f"\nbest {one_line(kept)}: it does not say its {monitor}")


def print_outcome(gain: RunGain | None, seconds: float, *, earlier: float = 0.0) -> None:
    """Print the time that it took, and whether the run won or lost against the probe.

    Args:
        gain: The run beside the probe; ``None`` where no probe was measured.
        seconds: What it took.
        earlier: What earlier starts of the same run took.
    """
    whole = f", with earlier starts {describe_duration(seconds + earlier)}" if earlier else ""
    print(f"took      {describe_duration(seconds)}{whole}")
    if gain is None:
        print("unknown   whether it won: no probe was measured to compare it with")
        return
    print(outcome(gain))
    print(f"on        {where_measured(gain)}")


def print_next(run_dir: Path, gain: RunGain | None, config: Mapping[str, Any]) -> None:
    """Print what to type: to use the run, and last what to do if it did not win.

    Args:
        run_dir: The directory of the run.
        gain: The run beside the probe; ``None`` where no probe was measured.
        config: The configuration of the run, which may name modules of the user.
    """
    kept = _kept_checkpoint(run_dir)
    own = modules_option(config["model"])
    command = shell_command("tltool", "predict", "--ckpt_path", kept, "--data.root", "FOLDER", *own)
    print(f"predict   {command}")
    own = modules_option([config[section] for section in MADE_AGAIN])
    print(f"look      {shell_command('tltool', 'report', run_dir, *own)}")
    difference = None if gain is None else gain.difference
    if difference is None or (difference.is_finding and difference.gain > 0):
        return  # There is nothing to repair, or nothing is known.
    mark = Mark.NO if difference.is_finding else Mark.SAME
    words, commands = what_next(read_run(run_dir), mark)
    print(f"next      {one_line(words)} {commands[0]}")


def _kept_checkpoint(run_dir: Path) -> Path:
    best = run_dir / "checkpoints" / "best.ckpt"
    return best if best.is_file() else best.with_name("last.ckpt")
