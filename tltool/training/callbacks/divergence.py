"""Lightning callback that ends a run whose weights or validation loss are no numbers any more."""

import math
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from tltool.diagnostics.health.unit_window import EVERY, is_sampled
from tltool.models.non_finite import listed_tensors, non_finite_tensors

_REMEDY = (
    "Set a lower --optimizer.lr (now {lr:g}; tltool plan --lr_range finds one), or "
    "--trainer.gradient_clip_val 1."
)


class Divergence(Callback):
    """End training with an error as soon as it has diverged: NaN or infinity in weights or loss.

    Nothing can be learned from there on, and the accuracy of such a network is that of its first
    class, so a checkpoint of it could be taken for the best one. What trains is looked at in the
    first steps, more and more rarely, and then every so many; everything before a checkpoint is
    written, and the loss after each validation. It stands first in the list of callbacks.

    Raises:
        ValueError: During ``fit``, on all ranks.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to go on from weights that are none."""
        found = non_finite_tensors(pl_module)
        source = f"the checkpoint {trainer.ckpt_path}" if trainer.ckpt_path else "the model"
        self._require_finite(
            trainer,
            found,
            f"Training cannot start from {source}, which holds NaN or infinity in "
            f"{listed_tensors(found)}. Take an earlier checkpoint, or other weights.",
        )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Look at what trains, now and then."""
        if is_sampled(trainer.global_step, EVERY):
            self._check_weights(trainer, non_finite_tensors(pl_module, trained_only=True))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at all weights, also where no checkpoint is written."""
        self._check_weights(trainer, non_finite_tensors(pl_module))

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Look at all weights; nothing is written if they are none."""
        self._check_weights(trainer, non_finite_tensors(pl_module))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the loss, before the epoch can become the best one."""
        loss = trainer.callback_metrics.get("val/loss")
        if trainer.state.fn != "fit" or loss is None or math.isfinite(loss):
            return
        if trainer.sanity_checking:
            raise ValueError(
                f"The validation loss is {float(loss):g} before training: the network gives no "
                "numbers for these images. Look at the weights it starts from and at the images: "
                "tltool doctor."
            )
        self._check_weights(trainer, non_finite_tensors(pl_module))
        raise ValueError(self._diverged(trainer, f"the validation loss is {float(loss):g}"))

    def _check_weights(self, trainer: Trainer, found: Sequence[str]) -> None:
        what = f"NaN or infinity is in {listed_tensors(found)}"
        self._require_finite(trainer, found, self._diverged(trainer, what))

    def _require_finite(self, trainer: Trainer, found: Sequence[str], message: str) -> None:
        # Shards differ; all ranks must end, or the others wait for this one.
        if not trainer.strategy.reduce_boolean_decision(not found, all=True):
            raise ValueError(message)

    def _diverged(self, trainer: Trainer, what: str) -> str:
        lrs = [
            group.get("initial_lr", group["lr"])
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
        ]
        place = f"step {trainer.global_step} (epoch {trainer.current_epoch + 1})"
        remedy = _REMEDY.format(lr=max(lrs, default=math.nan))
        return (
            f"Training has diverged: after {place} {what}. Nothing was saved from there. {remedy}"
        )
