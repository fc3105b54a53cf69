"""Verdict on a run: did it work, against what, how sure is that, and what to type next."""

import shlex
from dataclasses import dataclass

from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.verdict import Mark, answer, reasons
from tltool.reporting.run_record import RunRecord


@dataclass(frozen=True)
class RunVerdict:
    """What a run achieved.

    Attributes:
        mark: A sign for it, so that no color is needed.
        answer: Whether it worked, in a sentence.
        reasons: What that rests on, in sentences.
        next_step: What to do, in a sentence.
        commands: What to type.
    """

    mark: Mark
    answer: str
    reasons: list[str]
    next_step: str
    commands: list[str]


def is_cut_short(run: RunRecord) -> bool:
    """Tell whether a run ended before its last epoch, and nothing in its configuration says why.

    A callback, a number of steps, a time or a metric may end a training early.
    """
    trainer, epochs = run.config["trainer"], run.max_epochs
    may_end = (
        trainer.get("callbacks") or trainer.get("max_time") or trainer.get("max_steps", -1) > 0
    )
    return epochs is not None and run.epochs_done < epochs and not may_end


def judge_run(
    run: RunRecord, evaluation: MeasuredSplit | None, *, ended: bool = False
) -> RunVerdict:
    """Return what a run achieved.

    Args:
        run: The run.
        evaluation: Its predictions; ``None`` where there are none.
        ended: Whether a metric ended its last phase.
    """
    cut = is_cut_short(run) and not ended
    stopped = [f"It stopped after {run.epochs_done} of {run.max_epochs} epochs."] if cut else []
    if evaluation is None:
        mark, said = (
            Mark.UNKNOWN,
            "It cannot be told whether it worked: there is nothing to measure.",
        )
        return RunVerdict(mark, said, stopped, *_next(run, mark, evaluation, cut=cut))
    mark, said = answer(evaluation.differences)
    accuracy, *differences = reasons(evaluation)
    chose = "These images chose the checkpoint, so that is a little too good."
    rests_on = [
        accuracy,
        *([chose] if evaluation.split == "val" and run.has_best else []),
        *differences,
        *stopped,
        "The intervals are for other images of the same kind; how much is luck of the random "
        "numbers, only other seeds tell.",
    ]
    return RunVerdict(mark, said, rests_on, *_next(run, mark, evaluation, cut=cut))


def _next(
    run: RunRecord, mark: Mark, evaluation: MeasuredSplit | None, *, cut: bool
) -> tuple[str, list[str]]:
    last = run.folder / "checkpoints" / "last.ckpt"
    if cut and last.is_file():
        resume = run.fit_command("--ckpt_path", shlex.quote(str(last)))
        return "Resume where it stopped:", [resume]
    if cut:
        return "Train it anew:", [run.fit_command()]
    of_checkpoint = f"--ckpt_path {shlex.quote(str(run.checkpoint))} --data.root FOLDER"
    if mark == Mark.UNKNOWN:
        images = "images that are there"
        if evaluation is not None:
            images = "more images of more groups" if evaluation.groups else "more images"
        line = f"tltool validate {of_checkpoint}" if run.checkpoint else run.fit_command()
        return f"Measure it on {images}:", [line]
    plan = f"tltool plan --config {shlex.quote(str(run.folder / 'config.yaml'))}"
    if mark == Mark.NO:
        return "Look for a learning rate that learns:", [f"{plan} --lr_range"]
    if mark == Mark.SAME:
        return "Ask which strategy suits these images:", [f"{plan} --advise"]
    seed = run.config.get("seed_everything")
    other = run.fit_command("--seed_everything", str(seed + 1 if type(seed) is int else 1))
    words = "Use it, and train it again with another seed to see how much was luck:"
    return words, [f"tltool predict {of_checkpoint}", other]
