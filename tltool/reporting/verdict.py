"""The first lines of the page: did it work, against what, how sure is that, and what next."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tltool.comparison.differences import Difference
from tltool.reporting.evaluation import MAJORITY, PROBE, RUN, Evaluation
from tltool.reporting.run_record import RunRecord

_YES, _SAME, _NO = "\N{CHECK MARK}", "\N{ALMOST EQUAL TO}", "\N{MULTIPLICATION X}"
_UNKNOWN = "?"


@dataclass(frozen=True)
class Verdict:
    """What a run achieved.

    Attributes:
        mark: A sign for it, so that no color is needed.
        answer: Whether it worked, in a sentence.
        reasons: What that rests on, in sentences.
        next_step: What to do, in a sentence.
        commands: What to type.
    """

    mark: str
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


def judge_run(run: RunRecord, evaluation: Evaluation | None, *, ended: bool = False) -> Verdict:
    """Return what a run achieved.

    Args:
        run: The run.
        evaluation: Its predictions; ``None`` where there are none.
        ended: Whether a metric ended its last phase.
    """
    cut = is_cut_short(run) and not ended
    reasons = [f"It stopped after {run.epochs_done} of {run.max_epochs} epochs."] if cut else []
    if evaluation is None:
        answer = "It cannot be told whether it worked: there is nothing to measure."
        return Verdict(_UNKNOWN, answer, reasons, *_next(run, _UNKNOWN, evaluation, cut=cut))
    differences = evaluation.against_baselines()
    mark, answer = _answer(differences)
    low, high = evaluation.interval()
    accuracy = evaluation.scores[RUN].accuracy
    reasons = [
        f"Accuracy {accuracy:.3f}, 95 % interval {low:.3f} to {high:.3f}, on "
        f"{len(evaluation.labels):,} {evaluation.part} photos"
        + (f" of {len(set(evaluation.groups)):,} groups." if evaluation.groups else "."),
        *(f"{describe(d, f'the {name}')}." for name, d in differences.items()),
        *reasons,
        "The intervals are for other photos of the same kind; how much is luck of the random "
        "numbers, only other seeds tell.",
    ]
    if evaluation.part == "val" and run.has_best:
        reasons.insert(1, "These photos chose the checkpoint, so that is a little too good.")
    return Verdict(mark, answer, reasons, *_next(run, mark, evaluation, cut=cut))


def describe(difference: Difference, other: str) -> str:
    """Return the difference to something else in words: as one only where it is beyond noise."""
    estimate = difference.estimate
    low, high = estimate.interval
    relation = "better" if estimate.mean > 0 else "worse"
    if not difference.is_finding:
        relation = "not provably better or worse"
    return (
        f"{relation[0].upper()}{relation[1:]} than {other}: {estimate.mean:+.3f}, 95 % interval "
        f"{low:+.3f} to {high:+.3f}, p {words_of_p(difference.p_value)}"
    )


def words_of_p(p_value: float) -> str:
    """Return a p value in words.

    Example:
        >>> words_of_p(0.0214), words_of_p(1e-9)
        ('= 0.021', '< 0.001')
    """
    return f"= {p_value:.2g}" if p_value >= 0.001 else "< 0.001"


def _answer(differences: Mapping[str, Difference]) -> tuple[str, str]:
    majority, probe = differences[MAJORITY], differences[PROBE]
    if not majority.is_finding and majority.estimate.mean > majority.estimate.standard_error:
        return _UNKNOWN, (
            "It cannot be told yet: it looks better than always saying the most frequent class, "
            "but these photos are too few to prove it."
        )
    if not majority.is_finding or majority.estimate.mean < 0:
        return _NO, "No: it is not provably better than always saying the most frequent class."
    if not probe.is_finding:
        return _SAME, (
            "In part: it learned, but not provably more than a closed-form probe of the pretrained "
            "features gives without training."
        )
    if probe.estimate.mean < 0:
        return _NO, (
            "No: it learned, but a closed-form probe of the pretrained features is better without "
            "training."
        )
    return _YES, "Yes: it is better than both baselines, beyond what chance explains."


def _next(
    run: RunRecord, mark: str, evaluation: Evaluation | None, *, cut: bool
) -> tuple[str, list[str]]:
    config = shlex.quote(str(run.folder / "config.yaml"))
    last = run.folder / "checkpoints" / "last.ckpt"
    if cut:
        if last.is_file():
            return "Go on where it stopped:", [
                run.fit_command("--ckpt_path", shlex.quote(str(last)))
            ]
        return "Train it anew:", [run.fit_command()]
    if mark == _UNKNOWN:
        photos = "photos that are there"
        if evaluation is not None:
            photos = "more photos of more groups" if evaluation.groups else "more photos"
        return f"Measure it on {photos}:", [
            f"tltool validate --ckpt_path {_quoted(run.checkpoint)} --data.root FOLDER"
            if run.checkpoint
            else run.fit_command()
        ]
    if mark == _NO:
        return "Look for a learning rate that learns:", [
            f"tltool plan --config {config} --lr_range"
        ]
    if mark == _SAME:
        return "Ask which strategy suits these photos:", [f"tltool plan --config {config} --advise"]
    seed = run.config.get("seed_everything")
    other = str(seed + 1 if type(seed) is int else 1)
    return "Use it, and train it again with another seed to see how much was luck:", [
        f"tltool predict --ckpt_path {_quoted(run.checkpoint)} --data.root FOLDER",
        run.fit_command("--seed_everything", other),
    ]


def _quoted(path: Path | None) -> str:
    return shlex.quote(str(path))
