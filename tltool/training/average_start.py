"""Lightning callback for weight averages that begin late: until then the average follows."""

import itertools
import logging
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, WeightAveraging

from tltool.training.find_callback import find_callback
from tltool.training.trainer_timeline import trainer_steps_per_epoch

log = logging.getLogger(__name__)


class AverageStart(Callback):
    """Let a weight average be the network as it is until the average's first update.

    Lightning validates and saves the average from the start, and in front of its first update that
    is the untrained network (https://github.com/Lightning-AI/pytorch-lightning/issues/21724). Its
    ``update_starting_at_epoch`` alone delays nothing, for steps update from the first one on; here
    it means the steps of that epoch. It stands in front of the average in the list of callbacks.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let an average that begins with an epoch begin with its first step."""
        average = find_callback(trainer, EMAWeightAveraging)
        if average is None:
            return
        epoch = average.update_starting_at_epoch
        if epoch and average.update_starting_at_step is None:
            average.update_starting_at_step = epoch * trainer_steps_per_epoch(trainer)
        first = average.update_starting_at_step
        if first and trainer.global_step < first and trainer.is_global_zero:
            log.info(
                "EMAWeightAveraging begins at step %d; until then the network itself is validated "
                "and saved.",
                first,
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the average to the network, before it is validated."""
        _follow(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Bring the average to the network, before it is saved."""
        _follow(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the average to the network, which becomes it."""
        _follow(trainer, pl_module)


@torch.no_grad()
def _follow(trainer: Trainer, module: LightningModule) -> None:
    """Copy the network into an average that has seen no update."""
    callback = find_callback(trainer, WeightAveraging)
    # Lightning has no other way.
    average = None if callback is None else callback._average_model
    if average is None or average.n_averaged > 0:
        return
    averaged = itertools.chain(average.module.parameters(), average.module.buffers())
    current = itertools.chain(module.parameters(), module.buffers())
    for mine, network in zip(averaged, current, strict=True):
        mine.copy_(network)
