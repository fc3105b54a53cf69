"""Signals that end a run: a handler that notes them, so that training stops where it can be saved.

It is installed before anything heavy is imported, for Slurm may send a signal a minute early. It
makes no collective call, saves nothing and prints nothing: `SignalStop` does, at the end of a
batch, on all ranks together. A handler that does such things itself hangs
(https://github.com/Lightning-AI/pytorch-lightning/issues/21406).
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tltool.training.distributed.launch import find_launch
from tltool.training.distributed.run_status import UNFINISHED

NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT")
STOPPING = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
"""The signals that stop a run: preemption and time limits of clusters, and Ctrl-C."""

INTERRUPTED = 130
"""Exit code behind Ctrl-C in front of training: 128 and its number, as in shells."""

# With other ranks, one that is asked to stop before training begins waits for their agreement.
_SECONDS_TO_AGREE = 15.0
# A launcher and the terminal may both pass on one Ctrl-C.
_SECONDS_OF_ONE_INTERRUPT = 1.0
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


class SignalStopped(SystemExit):
    """Ends a process that a signal has stopped, with the exit code `UNFINISHED`.

    Args:
        number: The signal.
        has_agreed: Whether all ranks stop here.
    """

    def __init__(self, number: int, *, has_agreed: bool = False) -> None:
        super().__init__(UNFINISHED)
        self.signal_name = signal.Signals(number).name
        self.has_agreed = has_agreed

    def __str__(self) -> str:
        """Return the signal's name."""
        return self.signal_name


def stop_message(stop: object) -> str:
    """Return what to say where a signal has stopped a run in front of training."""
    return f"stopped by {stop}: start it again to go on"


class StopSignals:
    """The signal that a process has received, if any.

    As long as nothing would be lost, in imports or while features are computed, a signal ends the
    process at once, as Ctrl-C does. From `defer` on it is only noted, except for a second Ctrl-C.
    Forks, such as a data loader's workers, inherit the handler and pass each signal by. Libraries
    lose exceptions that come from a handler, so that `importing` raises none, and `check` and a
    timer do it again.
    """

    def __init__(self) -> None:
        #: Whether the handler is installed in this process.
        self.is_installed = False
        self._process = self._parent = 0
        self._forget()

    def _forget(self) -> None:
        #: The first signal that came.
        self.received: int | None = None
        #: When, by ``time.monotonic``.
        self.received_at = 0.0
        #: Whether other ranks must agree to stop.
        self.has_other_ranks = False
        self._is_deferred = self._is_over = self._is_importing = False
        self._interrupted_at = 0.0

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals in this process, and give them back in the end.

        Signals can be handled in the main thread only; in another one nothing happens. A signal
        that is ignored, as ``nohup`` and shells do for jobs in the background, stays so.
        """
        if self.is_installed or threading.current_thread() is not threading.main_thread():
            yield
            return
        self._forget()  # What came to an earlier run of this process.
        self.is_installed, self._process, self._parent = True, os.getpid(), os.getppid()
        before = {number: signal.getsignal(number) for number in STOPPING}
        handled = [number for number, handler in before.items() if handler != signal.SIG_IGN]
        for number in handled:
            signal.signal(number, self._handle)
        _end_with_torchrun()
        try:
            yield
        finally:
            self._set_timer(0)
            for number in handled:
                signal.signal(number, before[number])
            self.is_installed = False

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """End the process without an exception, which a module that is half imported may lose."""
        self._is_importing = True
        try:
            yield
        finally:
            self._is_importing = False

    @property
    def has_come(self) -> bool:
        """Whether a signal asks this run to stop."""
        return self.is_installed and self.received is not None

    def check(self) -> None:
        """Stop in front of training, if a signal has come whose exception was lost.

        Raises:
            SignalStopped: Unless other ranks must agree.
        """
        if self.has_come and not self._is_deferred and not self._has_others():
            raise SignalStopped(self.received or 0)

    def defer(self) -> None:
        """Only note signals from here on: there is something to save."""
        self._is_deferred = True
        self._set_timer(0)

    def end_at_once(self) -> None:
        """End the process at a signal again, and now if one has come: all is saved.

        Raises:
            SignalStopped: See `check`.
        """
        self._is_deferred = False
        self.check()

    def pass_by(self) -> None:
        """Ignore all signals but Ctrl-C from here on: the run is saved and about to end."""
        self._is_over = True
        self.defer()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return
        if self.received is None and not self._is_over:
            self.received, self.received_at = number, time.monotonic()
        if number == signal.SIGINT:
            self._check_second_interrupt()
        if self._is_deferred or self.received is None:
            return
        if self._has_others():
            self._set_timer(_SECONDS_TO_AGREE)
        else:
            self._end(SignalStopped(self.received))

    def _has_others(self) -> bool:
        return self.has_other_ranks or _launched_with_others()

    def _end(self, error: BaseException) -> None:
        if not self._is_importing:
            self._set_timer(_SECONDS_TO_AGREE)  # Again then, where a library has lost it.
            raise error
        is_interrupt = isinstance(error, KeyboardInterrupt)
        words = "interrupted" if is_interrupt else stop_message(error)
        os.write(sys.stderr.fileno(), f"{words}\n".encode())
        os._exit(INTERRUPTED if is_interrupt else UNFINISHED)

    def _check_second_interrupt(self) -> None:
        now, before = time.monotonic(), self._interrupted_at
        is_same = before and now - before < _SECONDS_OF_ONE_INTERRUPT
        if is_same:
            return
        if before or not (self._is_deferred or _started_by_lightning()):
            self._end(KeyboardInterrupt())
        self._interrupted_at = now

    def _set_timer(self, seconds: float) -> None:
        """Stop waiting for other ranks after some seconds; 0 for never."""
        if not hasattr(signal, "setitimer") or os.getpid() != self._process:
            return
        if seconds:
            signal.signal(signal.SIGALRM, self._stop_alone)
        elif signal.getsignal(signal.SIGALRM) != self._stop_alone:
            return
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _stop_alone(self, number: int, frame: FrameType | None) -> None:
        if self._is_deferred or self.received is None or os.getpid() != self._process:
            return
        # Lightning's first rank is killed when one that it has started ends, so these wait for it.
        if _started_by_lightning() and os.getppid() == self._parent:
            self._set_timer(_SECONDS_TO_AGREE)
        else:
            self._end(SignalStopped(self.received))


SIGNALS = StopSignals()
"""Those of this process: handlers are one to a process."""


def replace_lightning_handlers_(trainer: Any) -> None:
    """Keep a Trainer from installing handlers, which make collective calls where a signal comes.

    Args:
        trainer: Lightning's Trainer, in front of its run.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None


def _launched_with_others() -> bool:
    counts = (os.environ.get(name, "") for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS"))
    return any(count.isdecimal() and int(count) > 1 for count in counts)


def _started_by_lightning() -> bool:
    """Tell whether rank 0 has: it gives each a number, and itself 0."""
    return os.environ.get("LOCAL_RANK", "0") != "0" and not find_launch().launcher


def _end_with_torchrun() -> None:
    """Ask for SIGTERM when torchrun dies of a signal, which else leaves its ranks behind."""
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
