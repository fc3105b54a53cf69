"""Checkpoint callbacks: the best epoch, and the last state of a run to resume from."""

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from tltool._lookup import lookup
from tltool._objective import MODES
from tltool._plain_text import shell_command
from tltool.training.distributed.run_status import note_saved
from tltool.training.epoch_position import ends_early
from tltool.training.run_directory import resumed_run_dir

log = logging.getLogger(__name__)

MONITORS = MODES
"""Metrics that can choose the best epoch, and whether the least or the most is best."""

# A newer file replaces the older one.
_SAME_NAME: dict[str, Any] = {"auto_insert_metric_name": False, "enable_version_counter": False}


TIES = "val/loss"
"""Which of two epochs with one value of the metric is better: that with the smaller loss, for
probabilities of an early epoch are often worse where the share of right images is the same."""


class MonitoredCheckpoint(ModelCheckpoint):
    """Keep the epochs with the best values of a metric of the validation, of equal ones by `TIES`.

    NaN is the worst value: of epochs that are all NaN, `TIES` chooses, and a warning says so.

    Args:
        directory: Where the files lie.
        filename: Their name, without suffix.
        monitor: The metric, one of `MONITORS`.
        keep: How many.

    Raises:
        ValueError: If the metric is unknown; or after a validation, if it is not measured.
    """

    def __init__(self, directory: Path, filename: str, monitor: str, keep: int = 1) -> None:
        mode = lookup(MONITORS, monitor, kind="monitor")
        chosen: dict[str, Any] = {"monitor": monitor, "mode": mode, "save_top_k": keep}
        super().__init__(directory, filename, **chosen, **_SAME_NAME)
        self._losses = dict[str, float]()  # of the kept epochs, by name of the file
        self._has_warned = False

    @property
    def state_key(self) -> str:
        """The same for each metric, so that a run can be resumed with another one."""
        return type(self).__qualname__

    def state_dict(self) -> dict[str, Any]:
        """Return the best scores, and the losses beside them."""
        return {**super().state_dict(), "losses": self._losses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best scores, unless they are of another metric."""
        if state_dict["monitor"] == self.monitor:
            super().load_state_dict(state_dict)
            self._losses = dict(state_dict.get("losses", {}))

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Tell whether an epoch is to be kept: also where it is as good, with a smaller loss."""
        if current is not None and current.isnan():
            self._warn_of_nan(trainer)
            current = torch.full_like(current, -math.inf if self.mode == "max" else math.inf)
        if super().check_monitor_top_k(trainer, current) or current is None:
            return current is not None
        worst = self.kth_best_model_path
        is_better = bool(current == self.best_k_models[worst]) and (
            _loss(trainer) < self._losses.get(Path(worst).name, -math.inf)
        )
        return trainer.strategy.reduce_boolean_decision(is_better)

    def _warn_of_nan(self, trainer: Trainer) -> None:
        """Say once what a metric without a value means; of several callbacks, the first does."""
        callbacks = trainer.checkpoint_callbacks
        first = next(each for each in callbacks if isinstance(each, MonitoredCheckpoint))
        if self._has_warned or first is not self or not trainer.is_global_zero:
            return
        self._has_warned = True
        if self.monitor == TIES:
            log.warning(
                "%s is NaN after epoch %d, which counts as its worst value: training has diverged, "
                "or images have NaN. Lower --optimizer.lr; tltool doctor looks at the images.",
                *(self.monitor, trainer.current_epoch + 1),
            )
            return
        log.warning(
            "%s is NaN after epoch %d, which counts as its worst value; where it is NaN in all "
            "epochs, %s chooses. It has no value where the validation images lack classes, or "
            "where all labels or predictions are equal. Give images of each class, or set "
            "--monitor %s.",
            *(self.monitor, trainer.current_epoch + 1, TIES, TIES),
        )

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """Save an epoch that is kept, once it is known which of equal ones is the best."""
        if filepath in self.best_k_models:
            kept = {Path(path).name for path in self.best_k_models}
            losses = {**self._losses, Path(filepath).name: _loss(trainer)}
            self._losses = {name: losses[name] for name in losses.keys() & kept}
            self._order_equal()
        super()._save_checkpoint(trainer, filepath)

    def _order_equal(self) -> None:
        """Choose the best and the worst of the kept epochs by the metric, of equal ones by loss."""
        sign = 1 if self.mode == "max" else -1

        def goodness(path: str) -> tuple[float, float]:
            loss = self._losses.get(Path(path).name, math.inf)
            return sign * float(self.best_k_models[path]), -loss

        self.best_model_path = max(self.best_k_models, key=goodness)
        self.best_model_score = self.best_k_models[self.best_model_path]
        if self.kth_best_model_path:
            self.kth_best_model_path = min(self.best_k_models, key=goodness)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose, where there was a validation; Lightning would warn in each epoch without one."""
        metrics = trainer.callback_metrics
        if self.monitor in metrics:
            super().on_train_epoch_end(trainer, pl_module)
        elif "val/loss" in metrics:
            measured = [name for name in MONITORS if name in metrics]
            raise ValueError(
                f"`monitor` is {self.monitor!r}, which is not measured with such labels. Set "
                f"--monitor to one of: {', '.join(measured)}."
            )


def _loss(trainer: Trainer) -> float:
    return float(trainer.callback_metrics.get(TIES, math.nan))


class BestCheckpoint(MonitoredCheckpoint):
    """Keep ``best.ckpt``, the best epoch, see `MonitoredCheckpoint`.

    Args:
        directory: Where the file lies.
        monitor: The metric that decides.
    """

    def __init__(self, directory: Path, monitor: str = "val/accuracy") -> None:
        super().__init__(directory, "best", monitor)

    @classmethod
    def state_in(cls, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a checkpoint keeps of it; empty for one without, such as a merge."""
        state: dict[str, Any] = checkpoint.get("callbacks", {}).get(cls.__qualname__, {})
        return state


class EpochCheckpoints(MonitoredCheckpoint):
    """Keep several of the best epochs, ``epoch_<number>.ckpt``, to average them.

    Args:
        directory: Where the files lie.
        keep: How many.
        monitor: The metric that decides.
    """

    def __init__(self, directory: Path, keep: int, monitor: str = "val/accuracy") -> None:
        super().__init__(directory, "epoch_{epoch}", monitor, keep)


class LastCheckpoint(ModelCheckpoint):
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
        #: When it was saved last, by ``time.monotonic``, and how many seconds that took.
        self.saved_at = time.monotonic()
        self.save_seconds = 0.0

    def save(self, trainer: Trainer) -> None:
        """Save what is trained by now; all ranks must call it."""
        start = time.monotonic()
        trainer.save_checkpoint(self.path)
        self._note(trainer, start)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        start = time.monotonic()
        super()._save_checkpoint(trainer, filepath)
        self._note(trainer, start)

    def _note(self, trainer: Trainer, start: float) -> None:
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - start
        if trainer.is_global_zero:
            note_saved(self.path.parent.parent, trainer.global_step, trainer.current_epoch)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the directory of rank 0 on all ranks: it alone has created one."""
        super().setup(trainer, pl_module, stage)
        path = Path(trainer.strategy.broadcast(str(self.path.absolute())))
        if not trainer.is_global_zero:
            self.path = path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the starting point, so that a run killed in its first epoch can be resumed too."""
        super().on_train_start(trainer, pl_module)
        # `fast_dev_run` is set by the Trainer's connector.
        if trainer.global_step == 0 and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.save(trainer)

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
            self.save(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Print the command that resumes, after Ctrl-C or an error."""
        super().on_exception(trainer, pl_module, exception)
        if trainer.is_global_zero and self.path.is_file():
            run_dir = self.path.parent.parent
            is_found = resumed_run_dir(self.path) == run_dir.absolute()
            place = ("--run_dir", run_dir) if is_found else ("--ckpt_path", self.path)
            words = ("fit", "--config", run_dir / "config.yaml", *place)
            print(f"\nTo resume: {shell_command('tltool', *words)}")
