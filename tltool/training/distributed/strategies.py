"""Lightning's strategies for many devices: those that work here, by name, and their time limit."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch.distributed.constants import default_pg_timeout

TIME_LIMIT = timedelta(minutes=10)
"""How long a rank waits for the others. Lightning's 30 minutes are long for a job that is paid."""

_CLASSES = {"DDPStrategy": DDPStrategy, "ModelParallelStrategy": ModelParallelStrategy}
# Beginnings of names, in small letters, and what to set instead; `fsdp2` is none of them.
_REFUSED = {
    "ddp_spawn": "ddp",
    "ddp_fork": "ddp",
    "ddp_notebook": "ddp",
    "fsdp": "ModelParallelStrategy (FSDP2)",
    "deepspeed": "ModelParallelStrategy (FSDP2)",
}


def check_strategy(given: Any) -> None:
    """Raise if a strategy cannot train phases with checkpoints that resume.

    Args:
        given: The name, or a class and its arguments as a configuration holds them.

    Raises:
        ValueError: It names the one that works.

    Example:
        >>> check_strategy("fsdp")
        Traceback (most recent call last):
        ...
        ValueError: trainer.strategy fsdp does not work here. Set --trainer.strategy ...
    """
    arguments: Mapping[str, Any] = {}
    if not isinstance(given, str):
        arguments = given.get("init_args") or {}
        given = given["class_path"]
    name = given.rpartition(".")[2]
    method = arguments.get("start_method", "popen")
    if method != "popen":
        name = f"ddp_{method}"
    for beginning, instead in _REFUSED.items():
        if name.lower().startswith(beginning) and not name.lower().startswith("fsdp2"):
            raise ValueError(
                f"trainer.strategy {name} does not work here. Set --trainer.strategy {instead}."
            )


def strategy_of(given: str | Strategy) -> str | Strategy:
    """Return a strategy for the Trainer: classes can be named without arguments too.

    Example:
        >>> strategy_of("auto"), type(strategy_of("DDPStrategy")).__name__
        ('auto', 'DDPStrategy')
    """
    found = _CLASSES.get(given.rpartition(".")[2]) if isinstance(given, str) else None
    return found() if found else given


def limit_time_(strategy: Strategy) -> Strategy:
    """Give the process group of a strategy our time limit, in place, before it exists.

    A limit of its own stays; Lightning's default counts as none.
    """
    if getattr(strategy, "_timeout", None) == default_pg_timeout:
        vars(strategy)["_timeout"] = TIME_LIMIT
    return strategy
