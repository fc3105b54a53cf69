"""What ranks try together before a run: one all-reduce, and one save where the run will lie."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from tltool.cli.build import Experiment
from tltool.cli.trainer_section import uses_gpu
from tltool.diagnostics.checks.check_result import CheckResult
from tltool.training.checkpoint_io import AtomicCheckpointIO
from tltool.training.distributed.rank_meeting import RankMeeting

GRACE = 30
"""Seconds from SIGTERM to SIGKILL: Slurm's KillWait, and what Kubernetes gives by default."""

_ADAM = 2  # Numbers that the optimizer keeps for each parameter.
_SLOW_NETWORK = "NCCL_DEBUG=INFO says which network NCCL uses; NCCL_SOCKET_IFNAME chooses one."


def try_all_reduce(experiment: Experiment, meeting: RankMeeting) -> CheckResult:
    """Sum as many numbers as the network has parameters over the ranks; all must call it."""
    device = _device(experiment, meeting)
    numel = sum(parameter.numel() for parameter in experiment.task.parameters())
    with _process_group(device, meeting):
        dist.all_reduce(torch.ones(1, device=device))  # The first one makes the connections.
        gradients = torch.ones(numel, device=device)
        started_at = time.monotonic()
        dist.all_reduce(gradients)
        lowest, highest = (each.item() for each in torch.aminmax(gradients))  # Waits for it.
        seconds = time.monotonic() - started_at
    ranks = meeting.launch.world_size
    if not lowest == highest == ranks:
        found = f"The sum of ones over {ranks} ranks is {lowest:g} to {highest:g}."
        return CheckResult("all-reduce", "failed", found, _SLOW_NETWORK)
    found = f"{4 * numel / 1e6:,.1f} MB of gradients over {ranks} ranks: {1000 * seconds:,.0f} ms"
    return CheckResult("all-reduce", "ok", f"{found} on {device.type}.")


def try_save(experiment: Experiment, meeting: RankMeeting) -> list[CheckResult]:
    """Write as much as a checkpoint where the run will lie, and see who finds it.

    All ranks must call it; the results are those of rank 0.
    """
    directory = run_parent(experiment)
    if meeting.launch.rank != 0:
        is_there = Path(meeting.hear("saved")).is_file()
        meeting.gather("sees it", str(is_there))
        return []
    with tempfile.TemporaryDirectory(prefix=".tltool-doctor-", dir=directory) as temporary:
        file = Path(temporary) / "doctor.ckpt"
        result = _timed_save(experiment, file)
        meeting.say("saved", str(file))
        sights = meeting.gather("sees it", "True")
    return [result, _shared(directory, sights)]


def run_parent(experiment: Experiment) -> Path:
    """Return the directory, of those that there are, in which the run directory will lie."""
    place = experiment.start.run_dir or experiment.config.runs_dir
    directory = Path(place).expanduser().absolute()
    return next(each for each in (directory, *directory.parents) if each.is_dir())


def _timed_save(experiment: Experiment, file: Path) -> CheckResult:
    # Saved from the CPU: copies from a GPU are short beside what a disk takes.
    weights = {name: value.cpu() for name, value in experiment.task.state_dict().items()}
    states = [{name: value.clone() for name, value in weights.items()} for _ in range(_ADAM)]
    started_at = time.monotonic()
    AtomicCheckpointIO().save_checkpoint({"state_dict": weights, "optimizer_states": states}, file)
    seconds = time.monotonic() - started_at
    found = f"{file.stat().st_size / 1e6:,.1f} MB in {seconds:.1f} s."
    if seconds < GRACE / 2:
        return CheckResult("save", "ok", found)
    remedy = (
        f"Preempted jobs have about {GRACE} s (Slurm's KillWait, terminationGracePeriodSeconds). "
        "Ask for more, or save often: --save_every 10m."
    )
    return CheckResult("save", "warning", found, remedy)


def _shared(directory: Path, sights: Sequence[str | None]) -> CheckResult:
    blind = [str(rank) for rank, sight in enumerate(sights) if sight != "True"]
    if not blind:
        return CheckResult("run directory", "ok", f"All ranks see files in {directory}.")
    found = f"A file that rank 0 has written in {directory} is not seen by rank {', '.join(blind)}."
    remedy = "Set --run_dir to a path in a directory that all nodes share; a resume reads it."
    return CheckResult("run directory", "failed", found, remedy)


def _device(experiment: Experiment, meeting: RankMeeting) -> torch.device:
    if not (uses_gpu(experiment.config.trainer) and torch.cuda.is_available()):
        return torch.device("cpu")
    # With one GPU visible for each task, all of them are number 0.
    return torch.device("cuda", meeting.launch.local_rank % torch.cuda.device_count())


@contextmanager
def _process_group(device: torch.device, meeting: RankMeeting) -> Iterator[None]:
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=meeting.store,
        rank=meeting.launch.rank,
        world_size=meeting.launch.world_size,
        timeout=timedelta(seconds=meeting.time_limit),
        device_id=device if device.type == "cuda" else None,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()
