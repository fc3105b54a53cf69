"""Ends all ranks of a run where one fails, from before there is a process group to the end."""

import contextlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_only
from torch.distributed.distributed_c10d import Store

from tltool._plain_text import one_line
from tltool.training.distributed.launch import Launch, node_name, rank_name
from tltool.training.distributed.rank_agreement import check_same
from tltool.training.distributed.rank_errors import RankFailedError, RankLostError
from tltool.training.distributed.rank_store import open_store, wait_for_all
from tltool.training.distributed.run_status import UNFINISHED
from tltool.training.distributed.signals import SIGNALS, SignalStopped
from tltool.training.distributed.strategies import TIME_LIMIT

_PERIOD = 2.0  # seconds between two looks at the others
_SILENCE = 40.0  # seconds without a sign of life after which a rank has failed
_GRACE = 12.0  # seconds to end by itself, for a rank that has heard of a failure
_CLEAN = (0, None, UNFINISHED)  # exit statuses that are no failure


class RankWatch:
    """What the ranks of a run know of each other, by a store beside the process group.

    Used as a context around all that a rank does. One that fails tells the others its error, and
    they end within 15 seconds, whatever they wait for; one that is killed is missed within 60. Only
    the first error is printed, by its own rank, and that one has failed by rank 0.

    It does nothing for one process, and where Lightning starts the ranks and watches them itself.

    Args:
        launch: What the launcher has started.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.failure: str | None = None
        self._store: Store | None = None
        self._has_left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rank-watch", daemon=True)
        self._silent = dict.fromkeys(range(1, launch.world_size), (0, 0))
        if launch.launcher:
            vars(rank_zero_only)["rank"] = launch.rank  # Before a Trainer sets it.

    def __enter__(self) -> "RankWatch":
        """Meet the other ranks at the store, which rank 0 or torchrun holds.

        Raises:
            RankFailedError: If rank 0, or on rank 0 another one, does not come.
        """
        if self.launch.world_size == 1:
            return self
        self._store = open_store(self.launch, "watch", TIME_LIMIT)
        wait_for_all(self._store, self.launch, TIME_LIMIT)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell the other ranks that this one is done, or why it has failed.

        Raises:
            RankFailedError: On rank 0, if another rank has failed first.
            SystemExit: On the other ranks, without a word.
        """
        if self._store is None:
            return
        SIGNALS.defer()
        if isinstance(error, SignalStopped):
            with contextlib.suppress(dist.DistError):  # Rank 0 was killed.
                self._store.set("stopped", error.signal_name)
        is_own = error is None or _is_clean(error) or self._tell(error)
        self._leave(has_told=is_own and self.failure is not None)
        if is_own and (error is not None or self.failure is None):
            return
        if self.launch.rank == 0 and _cause(self.failure) != _words(error):
            raise RankFailedError(f"Ended, for {self.failure}") from error
        raise SystemExit(1) from error

    def check(self) -> None:
        """Raise if another rank has failed; it is cheap to ask often.

        Raises:
            RankFailedError: With its cause; `RankLostError` for a rank that is killed.
        """
        if self.failure:
            is_error = _FAILED in self.failure
            raise (RankFailedError if is_error else RankLostError)(f"Ended, for {self.failure}")

    @contextlib.contextmanager
    def naming_losses(self) -> Iterator[None]:
        """Say what has happened to the other ranks where a connection to one of them ends.

        Raises:
            RankFailedError: In the place of what gloo, NCCL or the store raise: the error of the
                rank that has ended the others; `RankLostError` if there is none. All other errors
                pass, and all of them where Lightning watches the ranks.
        """
        try:
            yield
        except RuntimeError as error:
            if self._store is None or not _is_loss(error):
                raise
            with contextlib.suppress(dist.DistError):  # Rank 0 was killed.
                self.failure = self.failure or self._look()
            self.check()
            raise RankLostError(
                "Another rank was lost: it was killed, or hangs, or its node is gone. See what it "
                "has printed last; to go on from the last save, start the run again. "
                f"({_words(error)})"
            ) from error

    def wait(self, name: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait for the other ranks, however long they take.

        Args:
            name: Of this point of the program.
            meanwhile: Called again and again.

        Raises:
            RankFailedError: If one of them fails, or ends before it comes here.
            SignalStopped: If a signal has stopped one of them.
        """
        if self._store is None:
            return
        count = self._store.add(name, 1)
        while count < self.launch.world_size:
            self.check()
            meanwhile()
            time.sleep(0.1)
            # In this order: who has come here leaves when all have.
            has_left = self._store.add("left", 0) > 0
            count = self._store.add(name, 0)
            if has_left and count < self.launch.world_size:
                if self._store.check(["stopped"]):
                    raise SignalStopped(signal.Signals[self._store.get("stopped").decode()])
                raise RankFailedError("Another rank has ended, which this one waits for.")

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Wait for the other ranks, and raise if one works on something else.

        Args:
            facts: What must be the same on all, as plain data.

        Raises:
            ValueError: See `rank_agreement.check_same`.
            RankFailedError: See `wait`.
        """
        if self._store is None:
            return
        told = json.dumps([node_name(), dict(facts)])
        self._store.set(f"facts/{self.launch.rank}", told)
        self.wait("facts")
        ranks = range(self.launch.world_size)
        check_same([json.loads(self._store.get(f"facts/{rank}")) for rank in ranks])

    def _watch(self) -> None:
        """Look at the others until this rank has left; if one has failed, end this process."""
        while self.failure is None and not self._has_left.wait(_PERIOD):
            try:
                self.failure = self._look()
            except dist.DistError:
                self.failure = _LOST
        if self.failure and not self._has_left.wait(_GRACE):
            if self.launch.rank == 0:
                print(f"error on {rank_name()}: Ended, for {self.failure}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)  # The main thread may wait for the others in a call that never returns.

    def _look(self) -> str | None:
        """Give a sign of life; return which rank has failed, and why."""
        assert self._store is not None  # noqa: S101  # there is no thread without
        self._store.add(f"alive/{self.launch.rank}", 1)
        if self.launch.rank == 0:
            self._miss(self._store)
        if not self._store.check(["failed"]):
            return None
        self._store.add(f"heard/{self.launch.rank}", 1)
        return str(self._store.get("failed").decode())

    def _miss(self, store: Store) -> None:
        """Note a rank that gives no sign of life any more.

        Looks are counted, not seconds: where all processes were stopped for a while, none is late.
        """
        for rank, (before, looks) in self._silent.items():
            signs = store.add(f"alive/{rank}", 0)
            is_well = signs > before or store.add(f"left/{rank}", 0) > 0
            self._silent[rank] = (signs, 0 if is_well else looks + 1)
            limit = _SILENCE if signs else TIME_LIMIT.total_seconds()
            if self._silent[rank][1] * _PERIOD > limit:
                store.compare_set("failed", "", f"rank {rank} has given no sign of life: killed?")

    def _tell(self, error: BaseException) -> bool:
        """Tell the others of an error; return whether it is the first one."""
        assert self._store is not None  # noqa: S101  # asked by the caller
        what = "has lost another rank: " if isinstance(error, RankLostError) else _FAILED
        told = f"{rank_name()} {what}{_words(error)}"
        try:
            self.failure = self._store.compare_set("failed", "", told).decode()
        except dist.DistError:
            self.failure = self.failure or _LOST
        return self.failure == told

    def _leave(self, *, has_told: bool) -> None:
        """Leave: a rank that has failed when the others know it, and rank 0 behind all others."""
        store, rank = self._store, self.launch.rank
        assert store is not None  # noqa: S101  # asked by the caller
        others = [other for other in range(self.launch.world_size) if other != rank]
        self._has_left.set()
        self._thread.join()
        with contextlib.suppress(dist.DistError):  # Rank 0 was killed.
            if has_told:
                _wait_until(
                    lambda: (
                        SIGNALS.has_come  # Of the launcher, which ends all: one of them is dead.
                        or all(_has(store, other, "heard", "left") for other in others)
                    )
                )
            store.add(f"left/{rank}", 1)
            store.add("left", 1)
            if rank == 0:
                is_over = self.failure is not None and SIGNALS.has_come
                seconds = 0 if is_over else _GRACE if self.failure else _SILENCE
                _wait_until(lambda: all(_has(store, other, "left") for other in others), seconds)
                self.failure = self._look()


_FAILED = "has failed: "  # In front of the error of a rank; a rank that is killed has none.
# Gloo's errors of a connection: closed, reset, timed out. Others begin with "[enforce fail at".
_OF_GLOO = re.compile(r"\[\S*gloo/transport/\S+\] ")
# NCCL's: others are of its use, such as two ranks on one device, and come again.
_OF_NCCL = re.compile(r"ncclRemoteError|ncclSystemError|remote process exited", re.IGNORECASE)
_LOST = "rank 0 is gone: its store cannot be reached"


def _has(store: Store, rank: int, *signs: str) -> bool:
    return any(store.add(f"{sign}/{rank}", 0) for sign in signs)


def _wait_until(is_so: Callable[[], bool], seconds: float = _GRACE) -> None:
    stops_at = time.monotonic() + seconds
    while time.monotonic() < stops_at and not is_so():
        time.sleep(0.2)


def _is_loss(error: RuntimeError) -> bool:
    """Tell whether a collective or the store has failed for what happened to another rank."""
    if isinstance(error, dist.DistBackendError):
        return _OF_NCCL.search(str(error)) is not None
    if isinstance(error, dist.DistNetworkError):
        return "failed to listen" not in str(error)
    return isinstance(error, dist.DistStoreError) or _OF_GLOO.match(str(error)) is not None


def _is_clean(error: BaseException) -> bool:
    return isinstance(error, SystemExit) and error.code in _CLEAN


def _words(error: BaseException | None) -> str:
    """Return the cause behind an error in words, on one line."""
    if isinstance(error, SystemExit):
        return f"exit status {error.code}"
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    return one_line(" ".join(str(error).split())[:1000] or type(error).__name__)


def _cause(failure: str | None) -> str:
    return (failure or "").partition(_FAILED)[2]
