"""State of a begun epoch that Lightning's counters do not tell, for checkpoints."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor

from tltool.training.epoch_position import batch_progress, is_in_step, is_step_whole, last_validated
from tltool.training.gradient_state import gather_gradients, set_gradients_

log = logging.getLogger(__name__)

_KEY = "epoch_position"  # in a checkpoint


@dataclass
class PositionState:
    """Plain data and tensors of a checkpoint.

    Args:
        validated: Number of batches of the run that were trained at its last validation.
        metrics: What callbacks such as `BestCheckpoint` look at.
        gradients: Of an accumulated step that is begun, see `gather_gradients`.
    """

    validated: int = 0
    metrics: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)

    def note_validation(self, trainer: Trainer) -> None:
        """Note that a validation is done."""
        self.validated = batch_progress(trainer).total.processed

    def save(self, checkpoint: dict[str, Any], trainer: Trainer, module: LightningModule) -> None:
        """Store the state of a running Trainer in a checkpoint."""
        if is_in_step(trainer):
            log.warning(
                "This checkpoint is written inside a training step, which a resumed run repeats: "
                "it differs a little from an uninterrupted one. last.ckpt is exact."
            )
        is_sharded = isinstance(trainer.strategy, ModelParallelStrategy)
        is_whole = is_step_whole(trainer) or is_sharded
        gradients = {} if is_whole else gather_gradients(module)
        checkpoint[_KEY] = vars(PositionState(self.validated, trainer.callback_metrics, gradients))

    @classmethod
    def load(cls, checkpoint: Mapping[str, Any]) -> "PositionState":
        """Return the state in a checkpoint, before its counters are changed."""
        if _KEY in checkpoint:
            return cls(**checkpoint[_KEY])
        return cls(last_validated(checkpoint["loops"]["fit_loop"]))

    def restore_(self, trainer: Trainer, module: LightningModule) -> None:
        """Let a resumed Trainer go on with metrics and gradients."""
        for name, value in self.metrics.items():
            trainer.callback_metrics[name] = value.to(module.device)
        if not (is_step_whole(trainer) or self.gradients):
            log.warning(
                "The checkpoint was written between the batches of an accumulated step, without "
                "its gradients: this step is made of the batches that are left."
            )
        place = {"rank": trainer.global_rank, "num_ranks": trainer.world_size}
        set_gradients_(module, self.gradients, **place)
        self.metrics, self.gradients = {}, {}
