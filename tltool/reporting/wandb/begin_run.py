"""Begin of a W&B run: on the server, else offline, else none; a training never fails of it."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import wandb
from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

from tltool._plain_text import one_line
from tltool.reporting.wandb.lost_service import LOST, say_lost

log = logging.getLogger(__name__)

Mode = Literal["offline", "online"]

REFUSED = (wandb.errors.Error, ServerResponseError)
"""What ``wandb.init`` raises where no server answers, or it or W&B's own process refuses."""


def begin_run(begin: Callable[..., Any], run_dir: Path, *, mode: Mode) -> tuple[Any, Mode]:
    """Begin a run where it was asked for, or keep it offline where the server does not let it.

    Where it cannot be kept offline either, or W&B's own process is gone, it is one that keeps
    nothing. Each is said in a warning.

    Args:
        begin: Begins the run with a ``mode``.
        run_dir: Its run directory.
        mode: What was asked for.

    Returns:
        The run, and its mode.
    """
    try:
        return begin(mode=mode), mode
    except LOST:
        say_lost()
    except REFUSED as error:
        said = one_line(str(error).strip())
        if mode == "online":
            log.warning(
                "W&B: the server did not take the run: %s. It is kept in %s (wandb sync sends it).",
                said.rstrip("."),
                run_dir,
            )
            with contextlib.suppress(*LOST):  # Its process still holds the run that was refused.
                wandb.teardown()
            return begin_run(begin, run_dir, mode="offline")
        log.warning(
            "W&B: the run cannot be kept: %s. Training goes on without W&B; metrics.csv holds "
            "everything.",
            said.rstrip("."),
        )
    return wandb.init(mode="disabled"), mode
