"""Lightning callback for the thresholds of several classes, chosen when training ends."""

import logging
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.thresholds import choose_thresholds
from tltool.models.weight_averaging import differing_tensors
from tltool.training.callbacks.cached_source import shards_weights
from tltool.training.callbacks.checkpoints import BestCheckpoint
from tltool.training.callbacks.ending_contest import Loaders, contest_loaders
from tltool.training.candidate_trial import CandidateTrial, restored_task
from tltool.training.checkpoint_io import TASK, AtomicCheckpointIO, read_checkpoint
from tltool.training.find_callback import find_callback
from tltool.training.image_task import ImageTask

log = logging.getLogger(__name__)


class LabelThresholds(Callback):
    """Choose the threshold of each class on the validation images, and keep it in ``best.ckpt``.

    It stands behind `Ending`, for the thresholds belong to the weights that are chosen. Thresholds
    that a task has already are kept; where labels are not several classes, nothing happens. See
    `choose_thresholds`.
    """

    def __init__(self) -> None:
        self._chosen: list[float] | None = None  # When it ended before.

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure ``best.ckpt`` and write its thresholds; every rank does."""
        if not isinstance(pl_module, ImageTask) or pl_module.objective != "multi_label":
            return
        best = find_callback(trainer, BestCheckpoint)
        if best is None or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
            return
        path = Path(str(best.dirpath)) / "best.ckpt"
        given = pl_module.thresholds
        if given is not None and given != self._chosen:
            if trainer.is_global_zero and path.is_file():
                _write(path, given)
            return
        loaders = contest_loaders(trainer)
        if not isinstance(loaders, str) and not shards_weights(trainer):
            self._choose(trainer, pl_module, path, loaders)

    def _choose(self, trainer: Trainer, pl_module: ImageTask, path: Path, loaders: Loaders) -> None:
        read = _differing(path, pl_module) if trainer.is_global_zero else None
        weights: dict[str, Tensor] | None = trainer.strategy.broadcast(read)
        if weights is None:
            return
        with restored_task(pl_module, loaders, weights.keys()):
            trial = CandidateTrial(pl_module, trainer, loaders[0], None, weights.keys())
            measured, _ = trial.measure("best.ckpt", weights, share=None)
        predictions = measured.predictions
        assert isinstance(predictions, MultiLabelPredictions)  # noqa: S101  # of this objective
        thresholds = choose_thresholds(predictions.probabilities, predictions.targets)
        self._chosen = thresholds
        pl_module.set_thresholds_(thresholds)
        if trainer.is_global_zero:
            _write(path, thresholds)
            named = zip(pl_module.class_names, thresholds, strict=True)
            words = ", ".join(f"{name} {number:.2f}" for name, number in named)
            log.info("Thresholds, chosen on the validation images: %s.", words)


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
