"""Lightning callback for a number of epochs that each rank has measured: that of rank 0 counts."""

from lightning.pytorch import Callback, LightningModule, Trainer


class AgreedEpochs(Callback):
    """Take over the number of epochs of rank 0, in front of the callbacks that lay training out."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask rank 0, before `Finetuning` makes its schedule."""
        if stage == "fit":
            trainer.fit_loop.max_epochs = trainer.strategy.broadcast(trainer.max_epochs)
