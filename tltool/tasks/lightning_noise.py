"""Silence Lightning's advertisements, and its warnings about which a user has nothing to do."""

import logging
import warnings

# Each with the reason why a user has nothing to do about it.
NOISE = (
    r".*does not have many workers.*",  # The number follows from the cores.
    # Epochs are logged.
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*LeafSpec.*",  # Lightning calls a deprecated constructor of torch.
    r".*recommended to use `self.log\(.*sync_dist=True.*",  # torchmetrics has reduced them already.
    r".*Checkpoint directory .* exists and is not empty.*",  # The starting point lies there.
)
ADVERTISEMENTS = ("💡 Tip", "GPU available", "TPU available", "HPU available")
LOGGER = "lightning.fabric.utilities.rank_zero"
"""What Lightning's ``rank_zero_info`` logs to."""


def silence_lightning() -> None:
    """Keep Lightning's advertisements, and warnings without a remedy, off the terminal.

    The command line calls it, and so does each `ImageTask` that is made; once is enough.
    """
    logger = logging.getLogger(LOGGER)
    if _is_no_advertisement not in logger.filters:
        logger.addFilter(_is_no_advertisement)
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(ADVERTISEMENTS)
