"""What reaches the terminal: tltool's own lines and warnings, little of the libraries'."""

import logging

from lightning.fabric.utilities.rank_zero import rank_zero_only

from tltool.commands.allocator import keep_freed_memory
from tltool.training.quiet_lightning import quiet_lightning


def set_up_process() -> None:
    """Show tltool's messages from rank 0 and of the libraries' only warnings; keep freed memory."""
    keep_freed_memory()
    logger = logging.getLogger("tltool")
    logger.handlers[:] = [logging.StreamHandler()]
    logger.setLevel(logging.INFO if getattr(rank_zero_only, "rank", 0) == 0 else logging.ERROR)
    logger.propagate = False
    quiet_lightning()
