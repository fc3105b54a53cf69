"""A meeting of ranks by a store: it knows who did not come, where a process group only hangs."""

import os
import sys
import threading
import time
from datetime import timedelta

import torch.distributed as dist

from tltool.training.distributed.launch import Launch, rank_name
from tltool.training.distributed.rank_errors import RankFailedError
from tltool.training.distributed.rank_store import open_store


class RankMeeting:
    """Exchange texts between ranks, with a time limit for each step.

    Args:
        launch: What the launcher has started.
        time_limit: Seconds that a rank waits for the others.

    Raises:
        RankFailedError: If rank 0 cannot be reached.
    """

    def __init__(self, launch: Launch, time_limit: float) -> None:
        self.launch = launch
        self.time_limit = time_limit
        self.store = open_store(launch, "doctor", timedelta(seconds=time_limit))

    def gather(self, name: str, text: str) -> list[str | None]:
        """Return the text of each rank, on rank 0; ``None`` for those that sent none in time.

        On the other ranks the list is empty.
        """
        self.store.set(f"{name}/{self.launch.rank}", text)
        if self.launch.rank != 0:
            return []
        end = time.monotonic() + self.time_limit
        return [self._wait(f"{name}/{rank}", end) for rank in range(self.launch.world_size)]

    def say(self, name: str, text: str) -> str:
        """Let the other ranks hear a text of rank 0, and return it."""
        self.store.set(name, text)
        return text

    def hear(self, name: str) -> str:
        """Return the text of rank 0.

        Raises:
            RankFailedError: If it says nothing in time.
        """
        # Rank 0 may wait for the others as long first.
        text = self._wait(name, time.monotonic() + 2 * self.time_limit)
        if text is None:
            raise RankFailedError(f"{rank_name()} got no word from rank 0. See what that says.")
        return text

    def _wait(self, key: str, end: float) -> str | None:
        try:
            self.store.wait([key], timedelta(seconds=max(end - time.monotonic(), 0.01)))
        except dist.DistStoreError:
            return None
        text: str = self.store.get(key).decode()
        return text


class StageLimit:
    """End this process when a stage takes too long, whatever it waits for.

    A call into a driver or a file system that hangs can be ended in no other way.
    """

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def start(self, stage: str, seconds: float) -> None:
        """Begin a stage, which ends the one before.

        Args:
            stage: What is done, for the message.
            seconds: How long it may take.
        """
        self.stop()
        self._timer = threading.Timer(seconds, self._end, [stage, seconds])
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """End the last stage."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self, stage: str, seconds: float) -> None:
        message = f"error: {rank_name()} has hung for {seconds:g} s at: {stage}. (--time_limit)"
        print(message, file=sys.stderr, flush=True)
        os._exit(1)
