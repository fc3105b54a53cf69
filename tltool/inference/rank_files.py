"""Files by which ranks without a process group know of each other: alive, finished, failed."""

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tltool._atomic_write import write_whole
from tltool._plain_text import one_line
from tltool.training.distributed.launch import Launch

PATIENCE = 600.0
"""Seconds without a sign of life after which a rank counts as dead."""

# A restart of the same job has another value of one of these.
_STARTS = (
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"),
    *("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"),
)
_ALIVE_EVERY = 20.0
_LOOK_EVERY = 2.0


class RankError(OSError):
    """Another rank has failed, is gone, or does something else."""


class RankFiles:
    """What each rank says of itself, in a directory that all see; alone, nothing is written.

    As a context, it shows that this rank is alive, and why it failed if an error leaves it. Each
    start of a job has a directory of its own, so that what an earlier one left says nothing.

    Args:
        folder: A directory beside what the ranks make together.
        launch: This rank and the others.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with RankFiles(folder, Launch("srun", 1, 2)):
        ...     raise ValueError("no disk")
        Traceback (most recent call last):
        ...
        ValueError: no disk
        >>> RankFiles(folder, Launch("srun", 0, 2)).check()
        Traceback (most recent call last):
        ...
        tltool.inference.rank_files.RankError: Rank 1 failed: no disk
    """

    def __init__(self, folder: Path, launch: Launch) -> None:
        self.folder = folder / f"ranks-{_start_name(os.environ)}"
        self.launch = launch
        self._facts: dict[str, Any] | None = None
        self._compared: set[str] = set()
        self._looked = -_LOOK_EVERY
        self._over = threading.Event()

    def __enter__(self) -> "RankFiles":
        if self.launch.world_size > 1:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._say("alive", str(os.getpid()))
            threading.Thread(target=self._stay_alive, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self.launch.world_size > 1 and error is not None and not isinstance(error, RankError):
            self._say("failed", one_line(str(error) or type(error).__name__))

    def tell_facts(self, facts: Mapping[str, Any]) -> None:
        """Say what this rank works on, which must be the same on all."""
        self._facts = dict(facts)
        if self.launch.world_size > 1:
            self._say("facts", json.dumps(self._facts))

    def check(self) -> None:
        """Raise if another rank has failed or works on something else; it is cheap to ask often.

        Raises:
            RankError: With the rank and its cause.
        """
        if self.launch.world_size == 1 or time.monotonic() - self._looked < _LOOK_EVERY:
            return
        self._looked = time.monotonic()
        for name in sorted(os.listdir(self.folder)):
            rank, _, kind = name.partition(".")
            if kind == "failed":
                raise RankError(f"Rank {rank} failed: {self._read(name)}")
            if kind == "facts" and self._facts is not None and name not in self._compared:
                self._compare(rank, json.loads(self._read(name)))
                self._compared.add(name)

    def finish(self) -> None:
        """Say that this rank has done its work."""
        if self.launch.world_size > 1:
            self._say("finished")

    def wait(self, meanwhile: Callable[[], None]) -> None:
        """Wait until the other ranks have done theirs.

        Args:
            meanwhile: Called about every second.

        Raises:
            RankError: If one has failed, or shows no sign of life any more.
        """
        signs: dict[int, tuple[float, float]] = {}
        while missing := self._unfinished():
            self.check()
            now = time.monotonic()
            for rank in missing:
                sign = self._sign(rank)
                if rank not in signs or signs[rank][0] != sign:
                    signs[rank] = sign, now
                elif now - signs[rank][1] > PATIENCE:
                    raise RankError(self._silence(rank, is_known=sign > 0))
            meanwhile()
            time.sleep(0.2)

    def _unfinished(self) -> list[int]:
        if self.launch.world_size == 1:
            return []
        names = set(os.listdir(self.folder))
        return [rank for rank in range(self.launch.world_size) if f"{rank}.finished" not in names]

    def _silence(self, rank: int, *, is_known: bool) -> str:
        what = "shows no sign of life any more" if is_known else "has not come"
        return (
            f"Rank {rank} {what}, and {PATIENCE / 60:.0f} minutes were waited for it. Its own "
            f"output may say why; if it runs on another machine, that must see {self.folder.parent}"
            " too. The same command goes on with what is finished."
        )

    def _compare(self, rank: str, theirs: Mapping[str, Any]) -> None:
        assert self._facts is not None  # noqa: S101  # asked by the caller
        differing = [name for name, value in self._facts.items() if theirs.get(name) != value]
        if differing:
            shown = "; ".join(
                f"{name} {theirs.get(name)} there, {self._facts[name]} here" for name in differing
            )
            raise RankError(
                f"Rank {rank} and rank {self.launch.rank} do not predict the same: {shown}. Give "
                "all ranks the same checkpoint, images and options."
            )

    def _sign(self, rank: int) -> float:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / f"{rank}.alive").stat().st_mtime
        return 0.0

    def _stay_alive(self) -> None:
        while not self._over.wait(_ALIVE_EVERY):
            with contextlib.suppress(OSError):  # Rank 0 removes it at the end.
                os.utime(self._file("alive"))

    def _say(self, kind: str, text: str = "") -> None:
        write_whole(self._file(kind), text)

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.launch.rank}.{kind}"

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


def _start_name(environment: Mapping[str, str]) -> str:
    told = "\n".join(environment.get(name, "") for name in _STARTS)
    return hashlib.blake2b(told.encode(), digest_size=4).hexdigest()
