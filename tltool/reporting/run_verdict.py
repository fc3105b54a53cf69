"""Verdict on a run: did it work, against what, how sure is that, and what to type next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tltool._plain_text import shell_command
from tltool.diagnostics.health.alarms import messages
from tltool.diagnostics.health.phase_loss import CAUSE
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.verdict import Mark, answer, reasons
from tltool.reporting.run_record import RunRecord


@dataclass(frozen=True)
class Verdict:
    """What one run or several achieved.

    Attributes:
        mark: A sign for it, so that no color is needed.
        answer: The answer, in a sentence.
        next_step: What to do, in a sentence.
        commands: What to type.
        reasons: What the answer rests on, in sentences.
    """

    mark: Mark
    answer: str
    next_step: str
    commands: list[str]
    reasons: list[str] = field(default_factory=list)

    @property
    def sentences(self) -> list[str]:
        """The answer behind its mark, and the reasons."""
        return [f"{self.mark} {self.answer}", *self.reasons]


#: Share of its training images, augmented, that a run which fits them has right.
FITS = 0.98


def is_cut_short(run: RunRecord) -> bool:
    """Tell whether a run ended before its last epoch, and nothing in its configuration says why.

    A callback, a number of steps, a time or a metric may end a training early.
    """
    trainer, epochs = run.config["trainer"], run.max_epochs
    may_end = (
        trainer.get("callbacks") or trainer.get("max_time") or trainer.get("max_steps", -1) > 0
    )
    return epochs is not None and run.epochs_done < epochs and not may_end


def judge_run(run: RunRecord, evaluation: MeasuredSplit | None, *, ended: bool = False) -> Verdict:
    """Return what a run achieved.

    Args:
        run: The run.
        evaluation: Its predictions; ``None`` where there are none.
        ended: Whether a metric ended its last phase.
    """
    mark, said = Mark.UNKNOWN, "It cannot be told whether it worked: there is nothing to measure."
    rests_on = []
    cut = is_cut_short(run) and not ended
    if evaluation is not None:
        mark, said = answer(evaluation.differences)
        accuracy, *differences = reasons(evaluation)
        rests_on = [accuracy, *differences]
        if evaluation.split == "val" and run.has_chosen:
            chose = "These images chose the checkpoint, so that is slightly optimistic."
            rests_on.insert(1, chose)
        rests_on.append(
            "The intervals are for other images of the same kind; only other seeds tell how much "
            "is noise of the random numbers."
        )
    if cut:
        rests_on.append(f"It stopped after {run.epochs_done} of {run.max_epochs} epochs.")
    next_step, commands = _resume(run) if cut else what_next(run, mark, evaluation)
    return Verdict(mark, said, next_step, commands, rests_on)


def _resume(run: RunRecord) -> tuple[str, list[str]]:
    last = run.run_dir / "checkpoints" / "last.ckpt"
    if last.is_file():
        return "Resume where it stopped:", [run.fit_command("--ckpt_path", last)]
    return "Train it anew:", [run.fit_command()]


def _change_phase(run: RunRecord, alarm: Mapping[str, str]) -> tuple[str, list[str]]:
    """Name the phase that has lost what the one before it had, and what to change in it."""
    options: Mapping[str, Any] = run.config["finetuning"].get("init_args", {})
    if messages()["lost by batch statistics"] in alarm["message"]:
        # A strategy of own phases says it in each.
        command = run.fit_command("--finetuning.batch_norm", "eval")
        if "batch_norm" not in options:
            command = shell_command("tltool", "plan", "--config", run.run_dir / "config.yaml")
        return f"{_sentence(alarm)} Keep the running statistics of batch norms:", [command]
    lr = run.config.get("optimizer", {}).get("init_args", {}).get("lr")
    words = ("--optimizer.lr", f"{lr / 10:g}") if isinstance(lr, float) else ()
    return f"{_sentence(alarm)} Train with a lower learning rate:", [run.fit_command(*words)]


def _sentence(alarm: Mapping[str, str]) -> str:
    what = alarm["message"].partition(". ")[0]
    return f"It lost in {alarm['layer']}: {what}."


def _fits_training(run: RunRecord) -> bool:
    points = run.metrics.get("train/accuracy", [])
    return bool(points) and points[-1][1] >= FITS


def _train_less(run: RunRecord) -> tuple[str, list[str]] | None:
    """Name what trains less of a network that fits its training images; ``None`` for nothing."""
    strategy: Mapping[str, Any] = run.config["finetuning"]
    name = strategy["class_path"].rpartition(".")[2]
    if name == "LinearProbe":
        return None
    commands = [run.fit_command("--finetuning", "LinearProbe")]
    number = strategy.get("init_args", {}).get("num_groups", 1)
    if name != "LastBlocks":
        commands.append(run.fit_command("--finetuning", "LastBlocks"))
    elif number > 1:
        commands.append(run.fit_command("--finetuning.num_groups", str(number - 1)))
    words = "the head alone" if len(commands) == 1 else "the head alone, or fewer layers"
    return f"It fits its training images, but not others. Train {words}:", commands


def what_next(
    run: RunRecord, mark: Mark, evaluation: MeasuredSplit | None = None
) -> tuple[str, list[str]]:
    """Return what to do after a run, in a sentence, and what to type.

    Args:
        run: The run.
        mark: What it achieved.
        evaluation: Its predictions; ``None`` where there are none.
    """
    plan = shell_command("tltool", "plan", "--config", run.run_dir / "config.yaml")
    lost = [alarm for alarm in run.alarms if alarm["cause"] == CAUSE]
    if lost and mark in {Mark.NO, Mark.SAME}:
        return _change_phase(run, lost[0])
    if mark == Mark.SAME and run.objective == "single_label":
        return "Ask which strategy suits these images:", [f"{plan} --advise"]
    if mark == Mark.NO and _fits_training(run):
        return _train_less(run) or ("Ask which strategy suits these images:", [f"{plan} --advise"])
    if mark in {Mark.NO, Mark.SAME}:
        return "Look for a learning rate that learns:", [f"{plan} --lr_range"]
    if mark == Mark.YES:
        seed = run.config.get("seed_everything")
        other = run.fit_command("--seed_everything", str(seed + 1 if type(seed) is int else 1))
        words = "Use it, and train it again with another seed to see how much was noise:"
        return words, [run.checkpoint_command("predict"), other]
    return _measure_more(run, evaluation)


def _measure_more(run: RunRecord, evaluation: MeasuredSplit | None) -> tuple[str, list[str]]:
    if evaluation is not None and evaluation.no_probe:
        words = "Put back the weights that it began with, and compare it with the probe:"
        return words, [shell_command("tltool", "report", run.run_dir)]
    images = "images that are there"
    if evaluation is not None:
        images = "more images of more groups" if evaluation.groups else "more images"
    line = run.checkpoint_command("validate") if run.checkpoint else run.fit_command()
    return f"Measure it on {images}:", [line]
