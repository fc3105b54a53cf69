"""What reaches the terminal: tltool's own lines and warnings, little of the libraries'."""

import logging
import warnings

from lightning.fabric.utilities.rank_zero import rank_zero_only

from tltool.cli.allocator import keep_freed_memory

# Each with the reason why a user has nothing to do about it.
NOISE = (
    r".*does not have many workers.*",  # The number follows from the cores.
    # Epochs are logged.
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*LeafSpec.*",  # Lightning calls a deprecated constructor of torch.
    r".*recommended to use `self.log\(.*sync_dist=True.*",  # torchmetrics has reduced them already.
    r".*Checkpoint directory .* exists and is not empty.*",  # The starting point lies there.
)


def set_up_process() -> None:
    """Show tltool's messages from rank 0 and of the libraries' only warnings; keep freed memory."""
    keep_freed_memory()
    logger = logging.getLogger("tltool")
    logger.handlers[:] = [logging.StreamHandler()]
    logger.setLevel(logging.INFO if getattr(rank_zero_only, "rank", 0) == 0 else logging.ERROR)
    logger.propagate = False
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
