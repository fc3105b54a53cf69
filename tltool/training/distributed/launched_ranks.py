"""Ranks that torchrun or srun has started: world size, rank, device, and a name of the start."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

_STARTS = (
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"),
    *("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"),
)


class LaunchedRanks(NamedTuple):
    """The processes of one start, and which of them this one is.

    Attributes:
        rank: This process.
        world_size: Number of processes.
        local_rank: This process among those of its machine.
        local_world_size: Number of processes on its machine.
        launcher: ``torchrun``, ``srun``, or empty text for a process that was started alone.
        start: A name that a restart of the same job does not have.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    launcher: str = ""
    start: str = ""


def launched_ranks(environment: Mapping[str, str] = os.environ) -> LaunchedRanks:
    """Return what torchrun or srun has told this process.

    torchrun comes first, for it may run below srun. A batch script has no ranks, though Slurm has
    set the number of its tasks: only what srun started knows its step.

    Args:
        environment: The variables of the process.

    Example:
        >>> launched_ranks({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"})[:4]
        (3, 4, 1, 4)
        >>> launched_ranks({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}).world_size
        1
    """
    for launcher, names in (
        ("torchrun", ("RANK", "WORLD_SIZE", "LOCAL_RANK")),
        ("srun", ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_STEP_ID")),
    ):
        if all(name in environment for name in names):
            rank, world_size, local_rank = (int(environment[name]) for name in names[:3])
            on_machine = _local_world_size(environment, world_size)
            told = "\n".join(environment.get(name, "") for name in _STARTS)
            start = hashlib.blake2b(told.encode(), digest_size=4).hexdigest()
            return LaunchedRanks(rank, world_size, local_rank, on_machine, launcher, start)
    return LaunchedRanks()


def check_devices(given: Mapping[str, Any], ranks: LaunchedRanks) -> None:
    """Raise if the devices of a trainer section contradict the processes that were started.

    Raises:
        ValueError: If they do.

    Example:
        >>> check_devices({"devices": 4}, LaunchedRanks(0, 2, launcher="torchrun"))
        Traceback (most recent call last):
        ...
        ValueError: torchrun has started 2 processes, but --trainer.devices 4 and ...
    """
    devices, num_nodes = str(given.get("devices", 1)), int(given.get("num_nodes") or 1)
    if ranks.world_size == 1 or (devices in {"1", "-1", "auto"} and num_nodes == 1):
        return
    if not devices.isdecimal() or int(devices) * num_nodes != ranks.world_size:
        raise ValueError(
            f"{ranks.launcher} has started {ranks.world_size} processes, but --trainer.devices "
            f"{devices} and --trainer.num_nodes {num_nodes} ask for others. Leave both out: each "
            "process takes one device."
        )


def _local_world_size(environment: Mapping[str, str], world_size: int) -> int:
    if "LOCAL_WORLD_SIZE" in environment:
        return int(environment["LOCAL_WORLD_SIZE"])
    return max(1, world_size // int(environment.get("SLURM_NNODES", 1)))
