"""Loss of W&B's own process: training goes on without it.

It is a process beside the training, and a cluster that signals all processes of a job ends it. From
then on each call of W&B raises one of some errors. Loss of the network is no such case: that
process waits for it.
"""

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import wandb
from wandb.sdk.lib.service.service_port_file import ServicePollForTokenError
from wandb.sdk.lib.service.service_token import WandbServiceConnectionError
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

log = logging.getLogger(__name__)

LOST = (
    ConnectionError,
    MailboxClosedError,
    HandleAbandonedError,
    # While it starts.
    ServicePollForTokenError,
    WandbServiceConnectionError,
)
"""What calls of W&B raise where its process is gone."""

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
        except LOST:
            say_lost()
            return None

    return wrapped


def say_lost() -> None:
    """Warn, once in a process, that W&B's own is gone, and let the next run start another."""
    _warn()
    with contextlib.suppress(*LOST):  # Else it says so with a traceback at the exit.
        wandb.teardown()


@functools.cache
def _warn() -> None:
    log.warning(
        "W&B's own process is gone, perhaps ended by a signal to all processes of the job. "
        "The command goes on without it. The run directory holds everything; a fit that is started "
        "again logs to the same W&B run."
    )
