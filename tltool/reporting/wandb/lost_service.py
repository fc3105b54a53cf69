"""Loss of W&B's own process: training goes on without it.

It is a process beside the training, and a cluster that signals all processes of a job ends it. From
then on each call of W&B raises one of three errors. Loss of the network is no such case: that
process waits for it.
"""

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import wandb
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

log = logging.getLogger(__name__)

_LOST = (ConnectionError, MailboxClosedError, HandleAbandonedError)

P = ParamSpec("P")
R = TypeVar("R")


def without_lost_service(function: Callable[P, R]) -> Callable[P, R | None]:
    """Let a function that logs to W&B return ``None`` where W&B's process is gone; warn once.

    Example:
        >>> @without_lost_service
        ... def count(run):
        ...     raise ConnectionResetError("Connection lost")
        >>> count(None)
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except _LOST:
            _say_lost()
            return None

    return wrapped


@functools.cache
def _say_lost() -> None:
    log.warning(
        "W&B's own process is gone, perhaps ended by a signal to all processes of the job. "
        "Training goes on without it. metrics.csv holds everything; a run that is started again "
        "logs to the same W&B run."
    )
    with contextlib.suppress(*_LOST):  # Else it says so with a traceback at the exit.
        wandb.teardown()
