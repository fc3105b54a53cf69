"""What reaches the terminal: tltool's own lines and warnings, little of the libraries'."""

import logging
import warnings
from collections.abc import Callable

from lightning.fabric.utilities.rank_zero import rank_zero_only

from tltool._plain_text import plain_lines
from tltool.cli.allocator import keep_freed_memory
from tltool.training.quiet_lightning import quiet_lightning


def set_up_process() -> None:
    """Show tltool's messages from rank 0 and of the libraries' only warnings; keep freed memory."""
    keep_freed_memory()
    handler = logging.StreamHandler()
    handler.addFilter(_once())
    handler.setFormatter(_PlainFormatter())
    logger = logging.getLogger("tltool")
    logger.handlers[:] = [handler]
    is_first = getattr(rank_zero_only, "rank", 0) == 0
    logger.setLevel(logging.INFO if is_first else logging.ERROR)
    logger.propagate = False
    quiet_lightning()
    if not is_first:
        warnings.simplefilter("ignore")  # Those of rank 0 are shown.


class _PlainFormatter(logging.Formatter):
    """Escapes control characters, which names of files and classes may hold."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # of the base class
        return plain_lines(super().formatMessage(record))


def _once() -> Callable[[logging.LogRecord], bool]:
    """Return a filter that lets each notice through once, such as the license of data."""
    seen = set[str]()

    def is_new(record: logging.LogRecord) -> bool:
        known, message = len(seen), record.getMessage()
        seen.add(message)
        return len(seen) > known or record.levelno > logging.INFO

    return is_new
