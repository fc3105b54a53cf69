"""Checkpoint callbacks: the best epoch, and the last state of a run to resume from."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from tltool._plain_text import shell_command
from tltool.training.epoch_position import ends_early

# A newer file replaces the older one.
_SAME_NAME: dict[str, Any] = {"auto_insert_metric_name": False, "enable_version_counter": False}


class MovableCheckpoint(ModelCheckpoint):
    """A ``ModelCheckpoint`` that keeps its best score when the run directory has moved.

    Lightning forgets it then (https://github.com/Lightning-AI/pytorch-lightning/issues/15705), and
    a worse epoch would replace the best.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score and the paths, if the files lie in the directory of this run."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        paths = {name: here(state_dict[name]) for name in names}
        if all(Path(path).is_file() for path in filter(None, [paths["best_model_path"], *scores])):
            moved = {"dirpath": self.dirpath, "best_k_models": scores}
            state_dict = {**state_dict, **paths, **moved}
        super().load_state_dict(state_dict)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, where what decides was measured; Lightning would warn in each epoch without."""
        if self.monitor is None or self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)


class BestCheckpoint(MovableCheckpoint):
    """Keep ``best.ckpt``, the epoch with the best validation accuracy.

    Args:
        directory: Where the file lies.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "best", monitor="val/accuracy", mode="max", **_SAME_NAME)


class EpochCheckpoints(MovableCheckpoint):
    """Keep several of the best epochs, ``epoch_<number>.ckpt``, to average them.

    Args:
        directory: Where the files lie.
        keep: How many.
        monitor: The metric that decides.
        mode: Whether it should be large (``max``) or small (``min``).
    """

    def __init__(
        self, directory: Path, keep: int, monitor: str = "val/accuracy", mode: str = "max"
    ) -> None:
        name = "epoch_{epoch}"
        super().__init__(directory, name, monitor=monitor, mode=mode, save_top_k=keep, **_SAME_NAME)


class LastCheckpoint(MovableCheckpoint):
    """Keep ``last.ckpt``: the starting point at first, then the end of each epoch, or more often.

    A callback of its own, for ``ModelCheckpoint(save_last=True)`` writes the last checkpoint only
    when a new best one is written too.

    Args:
        directory: Where the file lies.
        every_n_steps: Save in the middle of an epoch too, after so many optimizer steps; ``None``
            for at its end only.

    Raises:
        ValueError: If ``every_n_steps`` is not positive.
    """

    def __init__(self, directory: Path, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(
                f"`save_every_n_steps` must be at least 1, got {every_n_steps}. Leave it out to "
                "save at the end of each epoch only."
            )
        super().__init__(directory, "last", save_on_train_epoch_end=True, **_SAME_NAME)
        self.path = directory / "last.ckpt"
        self.every_n_steps = every_n_steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the starting point, so that a run killed in its first epoch can be resumed too."""
        super().on_train_start(trainer, pl_module)
        # `fast_dev_run` is set by the Trainer's connector.
        if trainer.global_step == 0 and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.path)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save in the middle of an epoch, after an optimizer step or where training ends."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if ends_early(trainer) and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            # In front of the validation that this end brings along, and of the end of an epoch
            # that is not over: a resumed run equals one without the end.
            self._save_checkpoint(trainer, str(self.path))
            return
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches
        # What ends an epoch is saved after its validation.
        if self.every_n_steps is None or accumulating or trainer.is_last_batch:
            return
        if trainer.global_step % self.every_n_steps == 0:
            trainer.save_checkpoint(self.path)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Print the command that resumes, after Ctrl-C or an error."""
        super().on_exception(trainer, pl_module, exception)
        if trainer.is_global_zero and self.path.is_file():
            config = self.path.parent.parent / "config.yaml"
            words = ("fit", "--config", config, "--ckpt_path", self.path)
            print(f"\nTo resume: {shell_command('tltool', *words)}")
