"""Run status: how far a run is and whether it is over, in the ``status.json`` of its directory."""

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

from tltool._atomic_write import write_whole
from tltool._plain_text import one_line
from tltool.training.distributed.rank_errors import RankLostError

UNFINISHED = 85
"""Exit code of a run that a signal has stopped, with all that it did saved: start it again."""

FILE = "status.json"

MOST_STARTS = 3
"""A run is started so many times from one step; then it is no use to start it again."""

State = Literal["running", "unfinished", "finished", "failed"]


@dataclass(frozen=True)
class RunStatus:
    """What ``status.json`` says; batch scripts decide by it, for launchers change exit codes.

    Args:
        state: ``running``: it runs, or was killed. ``unfinished``: it was stopped or lost a rank,
            and goes on when it is started again. ``finished``: nothing is left to train.
            ``failed``: it ended with an error, as it would again.
        step: Optimizer steps in ``last.ckpt``, from which it goes on.
        epoch: The epoch that they have come to, counted from 0.
        why: The signal or the error that has ended it.
        starts: How often it has been started since it came to this step.
        seconds: How long it has run up to its last save or its end, over all starts.
        since: When that was counted last, in seconds since 1970.
    """

    state: State
    step: int = 0
    epoch: int = 0
    why: str = ""
    starts: int = 0
    seconds: float = field(default=0.0, compare=False, repr=False)
    since: float = field(default=0.0, compare=False, repr=False)

    def counted(self) -> "RunStatus":
        """Return it with the time that has passed since that was counted last."""
        now = time.time()
        passed = max(0.0, now - self.since) if self.since else 0.0
        return replace(self, seconds=self.seconds + passed, since=now)

    def write(self, run_dir: Path) -> None:
        """Write ``status.json``, whole or not at all."""
        write_whole(run_dir / FILE, json.dumps(asdict(self)) + "\n", sync=True)


def read_status(run_dir: str | Path) -> RunStatus | None:
    """Return the status of a run, or ``None`` if there is none yet.

    Raises:
        ValueError: If the file is not one of tltool.

    Example:
        >>> import tempfile
        >>> run_dir = Path(tempfile.mkdtemp())
        >>> RunStatus("unfinished", step=120, epoch=3, why="SIGTERM").write(run_dir)
        >>> read_status(run_dir)
        RunStatus(state='unfinished', step=120, epoch=3, why='SIGTERM', starts=0)
    """
    file = Path(run_dir) / FILE
    if not file.is_file():
        return None
    try:
        return RunStatus(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{file} is damaged ({error}). Delete it: the run begins a new one."
        ) from error


def note_saved(run_dir: Path, step: int, epoch: int) -> None:
    """Note in the status of a running run that ``last.ckpt`` holds more of it.

    Args:
        run_dir: The run directory; without a status in it nothing is noted.
        step: See `RunStatus`.
        epoch: See `RunStatus`.
    """
    status = read_status(run_dir)
    if status is not None and status.state == "running":
        starts = 0 if step > status.step else status.starts
        replace(status.counted(), step=step, epoch=epoch, starts=starts).write(run_dir)


class StatusOf:
    """Keep the status of a run while it is trained: a context, for the first rank.

    Args:
        run_dir: The run directory.

    Raises:
        ValueError: On entering, if the run was started `MOST_STARTS` times before from the same
            step, and stopped or was killed each time before it had saved another one.

    Example:
        >>> import tempfile
        >>> run_dir = Path(tempfile.mkdtemp())
        >>> with StatusOf(run_dir):
        ...     note_saved(run_dir, step=10, epoch=1)
        >>> read_status(run_dir)
        RunStatus(state='finished', step=10, epoch=1, why='', starts=0)
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def __enter__(self) -> None:
        """Count the start, and say that the run is running."""
        before = read_status(self.run_dir) or RunStatus("running")
        if before.state in {"finished", "failed"}:  # Whoever starts it again has a reason.
            before = replace(before, starts=0)
        if before.starts >= MOST_STARTS:
            message = (
                f"No progress: {self.run_dir} was started {before.starts} times from step "
                f"{before.step} and has saved no later one (last: {before.why or 'killed'}). Give "
                "it more time, save more often (--save_every 10m), or look for what kills it; then "
                f"delete {self.run_dir / FILE} and start again."
            )
            replace(before, state="failed", why=message).write(self.run_dir)
            raise ValueError(message)
        begun = replace(before, starts=before.starts + 1, since=time.time())
        replace(begun, state="running", why="").write(self.run_dir)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Say how it has ended."""
        before = read_status(self.run_dir) or RunStatus("running")
        state, why = _outcome(error)
        replace(before.counted(), state=state, why=why).write(self.run_dir)


def _outcome(error: BaseException | None) -> tuple[State, str]:
    if error is None:
        return "finished", ""
    if isinstance(error, Exception):
        state: State = "unfinished" if isinstance(error, RankLostError) else "failed"
        return state, one_line(f"{type(error).__name__}: {error}")
    if isinstance(error, SystemExit):  # Of a signal; or Lightning makes one of a second Ctrl-C.
        return "unfinished", str(getattr(error, "signal_name", "SIGINT"))
    return "unfinished", "SIGINT" if isinstance(error, KeyboardInterrupt) else type(error).__name__
