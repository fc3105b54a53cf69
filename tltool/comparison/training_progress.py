"""Progress of a comparison: a bar on a terminal, and elsewhere a line in the log now and then."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.progress import Progress

from tltool._plain_text import plain_console
from tltool.finetuning.durations import describe_duration

log = logging.getLogger(__name__)

SECONDS = 30.0  # between two lines


@contextmanager
def training_progress(total: int, *, show: bool) -> Iterator[Callable[[int], object]]:
    """Yield a function that is told how much more is done.

    Args:
        total: What is done at the end.
        show: Whether there is a bar or lines.

    Example:
        >>> with training_progress(2, show=False) as advance:
        ...     _ = advance(2)
    """
    console = plain_console(stderr=True)
    if show and not console.is_terminal:
        yield _Lines(total).advance
        return
    with Progress(console=console, transient=True, disable=not show) as progress:
        yield partial(progress.advance, progress.add_task("training heads", total=total))


class _Lines:
    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.start = self.last = time.monotonic()

    def advance(self, number: int) -> None:
        self.done += number
        now = time.monotonic()
        if now - self.last >= SECONDS:
            left = (now - self.start) * (self.total / self.done - 1)
            words = "Trained %d %% of the heads, about %s left."
            log.info(words, 100 * self.done // self.total, describe_duration(left))
            self.last = now
