"""`tltool doctor --ranks`: whether the processes of a launcher can train one run together."""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

import tltool
from tltool.cli.build import Experiment, run_experiment
from tltool.cli.rank_trial import try_all_reduce, try_save
from tltool.cli.run_trainer import same_run
from tltool.diagnostics.checks.check_result import CheckResult
from tltool.models.weights_hash import hash_weights
from tltool.training.distributed.launch import find_launch, node_name
from tltool.training.distributed.rank_meeting import RankMeeting, StageLimit
from tltool.training.distributed.rank_report import (
    RankReport,
    describe_ranks,
    find_differences,
    from_text,
    to_text,
)
from tltool.training.resume_facts import git_commit
from tltool.training.run_facts import split_fingerprint

_REMEDIES = {
    "images": "Copy the same images to all nodes, or read them from a directory that they share.",
    "weights": "Give all nodes one file: tltool backbones --fetch, on a machine with a network.",
    "configuration": "Start all ranks with the same options and the same files.",
    "software": "Start all ranks from one environment in a shared directory, or one container.",
}


def check_ranks(words: Sequence[str], doctor: Callable[..., int]) -> list[CheckResult] | None:
    """Build the experiment on each rank, compare them, and let them sum and save once.

    Args:
        words: What stands behind the command's name.
        doctor: The command, whose options these are.

    Returns:
        What was found, on rank 0; ``None`` on the others.

    Raises:
        ValueError: If no launcher has started this process.
        RankFailedError: If rank 0 cannot be reached, or is silent.
    """
    launch = find_launch()
    if not launch.launcher:
        raise ValueError(
            "--ranks compares the processes of a launcher, and none has started this one. Start it "
            "as the training will be: srun tltool doctor --ranks ..., or torchrun ... -m tltool "
            "doctor --ranks ..."
        )
    limit = StageLimit()
    experiment, problem, seconds = _build(words, doctor, limit)
    report = RankReport(launch.rank, node_name(), problem, _facts(experiment) if experiment else {})
    limit.start("meeting the other ranks", 4 * seconds)
    meeting = RankMeeting(launch, seconds)
    texts = meeting.gather("report", to_text(report))
    results = compare_reports(texts) if texts else None
    if results is not None:
        is_well = all(result.status != "failed" for result in results)
        meeting.say("verdict", "try" if is_well else "stop")
    if meeting.hear("verdict") == "try" and experiment:
        limit.start("the first all-reduce", 2 * seconds)
        tried = [try_all_reduce(experiment, meeting)]
        limit.start("saving where the run will lie", 2 * seconds)
        tried += try_save(experiment, meeting)
        results = None if results is None else [*results, *tried]
    meeting.gather("leaves", "")  # Rank 0 holds the store.
    limit.stop()
    return results


def compare_reports(texts: Sequence[str | None]) -> list[CheckResult]:
    """Return what the reports of all ranks say, in their order; ``None`` for one that is missing.

    Example:
        >>> for result in compare_reports([to_text(RankReport(0, "node1")), None]):
        ...     print(result.status, result.found)
        failed No word from rank 1. Present: rank 0 on node1
    """
    reports = [from_text(text) for text in texts if text is not None]
    missing = [str(rank) for rank, text in enumerate(texts) if text is None]
    where = describe_ranks(reports)
    if missing:
        found = f"No word from rank {', '.join(missing)}. Present: {where}"
        return [CheckResult("ranks", "failed", found, "Look for its error in the job's output.")]
    present = CheckResult("ranks", "ok", where)
    broken = [report for report in reports if report.problem is not None]
    if broken:
        problems = [f"rank {each.rank} ({each.node}): {each.problem}" for each in broken]
        return [present, *(CheckResult("can start", "failed", each) for each in problems)]
    differences = find_differences(reports)
    return [present, *(_compared(name, differences, reports[0]) for name in _REMEDIES)]


def _compared(name: str, differences: dict[str, str], first: RankReport) -> CheckResult:
    if name in differences:
        return CheckResult(name, "failed", differences[name], _REMEDIES[name])
    return CheckResult(name, "ok", first.facts[name])


def _build(
    words: Sequence[str], doctor: Callable[..., int], limit: StageLimit
) -> tuple[Experiment | None, str | None, float]:
    """Return the experiment, or why there is none, and the time limit that was asked for."""
    seconds, found = 120.0, list[Experiment]()

    def check(config: Namespace) -> None:
        nonlocal seconds
        if config.time_limit <= 0:
            raise ValueError(f"--time_limit must be positive, got {config.time_limit:g}.")
        seconds = config.time_limit
        limit.start("reading weights and images", seconds)

    def keep(experiment: Experiment, **_: Any) -> None:
        found.append(experiment)

    try:
        run_experiment("doctor", words, functools.wraps(doctor)(keep), check=check)
    except (ImportError, OSError, TypeError, ValueError) as error:
        if os.environ.get("TLTOOL_TRACEBACK"):
            raise
        return None, _root_cause(error), seconds
    return found[0], None, seconds


def _root_cause(error: BaseException) -> str:
    """Return the message behind all that the parser wraps around it, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())


def _facts(experiment: Experiment) -> dict[str, str]:
    """Return what must be the same on all ranks, in words and with a hash."""
    data = experiment.data
    splits = data.splits.by_name()
    counts = ", ".join(f"{len(samples):,} {name}" for name, samples in splits.items())
    commit = git_commit(Path(tltool.__file__).parent) or ""
    return {
        "images": f"{counts} ({split_fingerprint(data.splits, data.class_names)})",
        "weights": f"{experiment.backbone.weights} ({hash_weights(experiment.backbone)[:12]})",
        "configuration": hash_config(experiment),
        "software": f"tltool {tltool.__version__} {commit[:12]}, torch {torch.__version__}",
    }


def hash_config(experiment: Experiment) -> str:
    """Return a short hash of what `fit` compares too: what a rank finds for itself is left out."""
    config = json.dumps(same_run(experiment).config, sort_keys=True)
    return hashlib.sha256(config.encode()).hexdigest()[:12]
