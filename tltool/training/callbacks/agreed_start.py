"""Lightning callback for what a run begins with: all ranks resume one checkpoint, or none does."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from tltool.training.distributed.rank_agreement import check_same_start


class AgreedStart(Callback):
    """Stop all ranks where one of them has found another start than rank 0, see `check_same_start`.

    Args:
        start: What this rank has found, by a name for the message.
    """

    def __init__(self, start: Mapping[str, Any]) -> None:
        self.start = dict(start)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare, before anything is loaded or written."""
        check_same_start(self.start)
