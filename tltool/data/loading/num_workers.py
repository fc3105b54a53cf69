"""Number of worker processes that decode images."""

import multiprocessing
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

_MOST = 8  # more would wait for the disk and for the main process
_GUARD = re.compile(r"__name__\s*(?:==|!=)|(?:==|!=)\s*__name__")


def resolve_num_workers(num_workers: int | None, num_devices: int) -> int:
    """Return the number of worker processes of each device.

    Args:
        num_workers: What the user asked for; ``None`` for one less than its share of the CPU cores.
        num_devices: Number of devices of this machine that share the cores.

    Raises:
        ValueError: If it is negative.
        RuntimeError: If the workers would run the user's script anew.

    Example:
        >>> resolve_num_workers(0, 1)
        0
        >>> 1 <= resolve_num_workers(None, 1) <= 8
        True
    """
    if num_workers is None:
        num_workers = min(_MOST, max(1, own_cores(num_devices) - 1))
    if num_workers < 0:
        raise ValueError(
            f"`num_workers` must be at least 0, got {num_workers}. "
            "Set --data.num_workers 0 to decode in the main process."
        )
    if num_workers:
        _check_main_guard()
    return num_workers


def own_cores(num_devices: int, environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of CPU cores that the process of one device has for itself.

    Those that it may run on are shared by the devices of this machine, unless Slurm has bound each
    task to its own.

    Args:
        num_devices: Number of devices of this machine.
        environment: The variables of the process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    # Of the step, on this machine: only what srun has started knows its step.
    is_task = "SLURM_STEP_ID" in environment
    of_tasks = int(environment.get("SLURM_CPUS_ON_NODE") or 0) if is_task else 0
    per_task = int(environment.get("SLURM_CPUS_PER_TASK") or 0) if is_task else 0
    if cores < of_tasks or cores == per_task:
        return cores
    return max(1, min(cores, of_tasks or cores) // num_devices)


def _check_main_guard() -> None:
    """Refuse workers that import a script without a main guard: each would train anew, and fail.

    Their own error is a page of tracebacks from each of them.
    """
    # Asked for the method alone, Python would settle it.
    method = multiprocessing.get_start_method(allow_none=True)
    method = method or multiprocessing.get_all_start_methods()[0]
    script = Path(getattr(sys.modules["__main__"], "__file__", None) or "")
    if method == "fork" or script.suffix != ".py" or not script.is_file():
        return
    if not _GUARD.search(script.read_text(encoding="utf-8", errors="replace")):
        raise RuntimeError(
            f"Each data loader worker would run {script} anew, for workers are started by "
            f'{method!r} here. Put what the script does below `if __name__ == "__main__":`, or set '
            "num_workers=0."
        )
