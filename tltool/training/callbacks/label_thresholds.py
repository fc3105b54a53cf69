"""Lightning callback for the thresholds of several classes, chosen when training ends."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.batch_loader import BatchLoader
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.thresholds import choose_thresholds
from tltool.models.weight_averaging import differing_tensors
from tltool.training.callbacks.cached_source import shards_weights
from tltool.training.callbacks.checkpoints import BestCheckpoint
from tltool.training.callbacks.ending_contest import contest_loaders
from tltool.training.candidate_trial import CandidateTrial, restored_task
from tltool.training.checkpoint_io import TASK, AtomicCheckpointIO, read_checkpoint
from tltool.training.find_callback import find_callback
from tltool.training.head_start import is_limited
from tltool.training.image_task import ImageTask

log = logging.getLogger(__name__)


class LabelThresholds(Callback):
    """Choose the threshold of each class on the validation images, and keep it in ``best.ckpt``.

    It stands behind `Ending`, for the thresholds belong to the weights that are chosen. Thresholds
    that a task has already are kept; where labels are not several classes, nothing happens. What
    a kill has prevented is done when the run is started again. See `choose_thresholds`.
    """

    def __init__(self) -> None:
        self._chosen: list[float] | None = None  # When it ended before.
        self._has_ended = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note that this training has not ended."""
        self._has_ended = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure ``best.ckpt`` and write its thresholds; every rank does."""
        self._has_ended = True
        found = _task_and_path(trainer, pl_module)
        if found is None:
            return
        task, path = found
        given = task.thresholds
        if given is not None and given != self._chosen:
            if trainer.is_global_zero and path.is_file():
                _write(path, given)
            return
        loaders = contest_loaders(trainer)
        if not isinstance(loaders, str):
            self._choose(trainer, task, path, loaders)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make up for it where nothing was left to train, and a kill had come in front of it."""
        found = None if self._has_ended else _task_and_path(trainer, pl_module)
        data = getattr(trainer, "datamodule", None)
        if found is None or is_limited(trainer) or not isinstance(data, ImageDataModule):
            return
        task, path = found
        if trainer.strategy.broadcast(trainer.is_global_zero and _lacks_thresholds(path)):
            self._choose(trainer, task, path, [data.val_dataloader()])

    def _choose(
        self, trainer: Trainer, task: ImageTask, path: Path, loaders: Sequence[BatchLoader]
    ) -> None:
        if shards_weights(trainer):
            return
        read = _differing(path, task) if trainer.is_global_zero else None
        weights: dict[str, Tensor] | None = trainer.strategy.broadcast(read)
        if weights is None:
            return
        with restored_task(task, loaders, weights.keys()):
            trial = CandidateTrial(task, trainer, loaders[0], None, weights.keys())
            measured, _ = trial.measure("best.ckpt", weights, share=None)
        predictions = measured.predictions
        assert isinstance(predictions, MultiLabelPredictions)  # noqa: S101  # of this objective
        thresholds = choose_thresholds(predictions.probabilities, predictions.targets)
        self._chosen = thresholds
        task.set_thresholds_(thresholds)
        if trainer.is_global_zero:
            _write(path, thresholds)
            named = zip(task.class_names, thresholds, strict=True)
            words = ", ".join(f"{name} {number:.2f}" for name, number in named)
            log.info("Thresholds, chosen on the validation images: %s.", words)


def _task_and_path(trainer: Trainer, module: LightningModule) -> tuple[ImageTask, Path] | None:
    """Return the task and its ``best.ckpt``; ``None`` where no thresholds are chosen."""
    best = find_callback(trainer, BestCheckpoint)
    is_try = trainer.fast_dev_run  # type: ignore[attr-defined]  # set by a connector
    if not isinstance(module, ImageTask) or module.objective != "multi_label":
        return None
    return None if best is None or is_try else (module, Path(str(best.dirpath)) / "best.ckpt")


def _lacks_thresholds(path: Path) -> bool:
    if not path.is_file():
        return False
    return read_checkpoint(path, map_location="meta")[TASK].get("thresholds") is None


def _differing(path: Path, task: ImageTask) -> dict[str, Tensor] | None:
    """Return what the weights in a file do not share with a task; ``None`` without a file."""
    if not path.is_file():
        return None
    stored: dict[str, Tensor] = read_checkpoint(path)["state_dict"]
    now = {name: tensor.cpu() for name, tensor in task.state_dict().items()}
    return {name: stored[name] for name in differing_tensors([stored, now])}


def _write(path: Path, thresholds: list[float]) -> None:
    checkpoint: dict[str, Any] = read_checkpoint(path)
    checkpoint[TASK] = {**checkpoint[TASK], "thresholds": thresholds}
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
