"""What reaches the terminal: tltool's own lines and warnings, little of the libraries'."""

import logging

from lightning.fabric.utilities.rank_zero import rank_zero_only

from tltool.cli.allocator import keep_freed_memory
from tltool.training.quiet_lightning import quiet_lightning


def set_up_process() -> None:
    """Show tltool's messages from rank 0 and of the libraries' only warnings; keep freed memory."""
    keep_freed_memory()
    handler = logging.StreamHandler()
    handler.addFilter(_Once())
    logger = logging.getLogger("tltool")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO if getattr(rank_zero_only, "rank", 0) == 0 else logging.ERROR)
    logger.propagate = False
    quiet_lightning()


class _Once(logging.Filter):
    """Let each notice through once, such as the license of data that is read again."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        is_new = message not in self._seen
        self._seen.add(message)
        return is_new or record.levelno > logging.INFO
