"""Signals in a data loader's workers: those that stop a run are for the process that trains.

A cluster signals every process of a job. A worker that dies of one takes the training along.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

_NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT")
_PASSED_BY = {getattr(signal, name) for name in _NAMES if hasattr(signal, name)}


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Hold signals back while workers are started, which inherit that until they pass them by."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_BY)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def pass_signals_by(worker: int) -> None:
    """Let signals pass by a worker, but for SIGTERM of its parent, which ends it.

    They are blocked and taken by a thread that can tell who has sent them: PyTorch's own handler
    ends a worker for any sender. A ``worker_init_fn`` of a ``DataLoader``.

    Args:
        worker: Its number.
    """
    if not hasattr(signal, "sigwaitinfo"):  # macOS and Windows
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_BY)
    threading.Thread(target=_take_signals, args=(os.getppid(),), daemon=True).start()


def _take_signals(parent: int) -> None:
    while True:
        taken = signal.sigwaitinfo(_PASSED_BY)
        if taken.si_signo == signal.SIGTERM and taken.si_pid == parent:
            os._exit(0)  # As PyTorch's handler does; the main thread may hang.
