"""Quiet Lightning: hide its advertisements, and warnings that a user can do nothing about."""

import logging
import warnings

# Each with the reason why a user has nothing to do about it.
_NOISE = (
    r".*does not have many workers.*",  # The number follows from the cores.
    # Epochs are logged.
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*LeafSpec.*",  # Lightning calls a deprecated constructor of torch.
    r".*recommended to use `self.log\(.*sync_dist=True.*",  # torchmetrics has reduced them already.
    r".*The `srun` command is available on your system.*",  # `check_launch` knows more.
    r".*Checkpoint directory .* exists and is not empty.*",  # The starting point lies there.
)


def quiet_lightning() -> None:
    """Hide Lightning's advertisements, its list of devices, and warnings without a remedy.

    `ImageTask` and `Finetuning` call it when they are made, so that a run from Python is as quiet
    as one of the command line. A level that the user has set on Lightning's loggers is kept.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        if logger.level == logging.INFO:  # Lightning's own choice.
            logger.setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)
