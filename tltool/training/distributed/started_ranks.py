"""Ranks that Lightning starts: the first one waits for the others where a signal can stop it."""

from collections.abc import Callable
from subprocess import Popen
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from tltool.training.distributed.launch import Launch
from tltool.training.distributed.rank_errors import RankFailedError
from tltool.training.distributed.rank_store import open_store, wait_for_all
from tltool.training.distributed.signals import SIGNALS, STOPPING, SignalStopped
from tltool.training.distributed.strategies import TIME_LIMIT


def meet_started_ranks_(trainer: Trainer) -> None:
    """Let ranks that Lightning starts on one machine meet in front of their process group.

    That would hold the first rank, for as long as the others import and build, in a call that no
    signal interrupts. Here a signal stops it at once, and the others with it: there is nothing to
    save. A rank that a signal has killed, before it handles any, stops them too. Whenever the first
    rank stops alone, it ends the others: Lightning would kill it for their exit codes.

    Args:
        trainer: In front of its run, which raises `SignalStopped`, or `RankFailedError` if another
            rank fails before it comes. Of ranks that a launcher has started, or several nodes, it
            is left as it is: see `RankWatch`. So it is with sharded weights, whose ranks Lightning
            numbers later: there the process group waits.
    """
    launcher = trainer.strategy.launcher
    if not isinstance(trainer.strategy, DDPStrategy) or trainer.num_nodes > 1:
        return
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return
    if not isinstance(launcher.cluster_environment, LightningEnvironment):
        return
    launch = launcher.launch

    def launch_and_meet(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        def meet_and_begin(*words: Any, **others: Any) -> Any:
            ranks = Launch("", trainer.global_rank, trainer.world_size)
            store = open_store(ranks, "start", TIME_LIMIT)  # Its server lives as long as this.
            wait_for_all(store, ranks, TIME_LIMIT, lambda: _check(launcher.procs))
            return function(*words, **others)

        try:
            return launch(meet_and_begin, *args, **options)
        except (KeyboardInterrupt, RankFailedError, SignalStopped) as stop:
            if not getattr(stop, "has_agreed", False):
                _end(launcher.procs)
            raise

    vars(launcher)["launch"] = launch_and_meet


def _check(children: list[Popen[Any]]) -> None:
    """Raise if a signal has come or one of them has failed."""
    codes = {rank: child.poll() for rank, child in enumerate(children, start=1)}
    failed = {rank: code for rank, code in codes.items() if code}
    signals = [-code for code in failed.values() if -code in STOPPING]
    number = SIGNALS.received if SIGNALS.has_come else next(iter(signals), None)
    if number is not None:
        raise SignalStopped(number)
    for rank, code in failed.items():
        raise RankFailedError(f"Ended, for rank {rank} has failed: exit status {code}.")


def _end(children: list[Popen[Any]]) -> None:
    ended = list(children)
    children.clear()  # In front of their end, which Lightning looks for.
    for child in ended:
        child.kill()
        child.wait()
