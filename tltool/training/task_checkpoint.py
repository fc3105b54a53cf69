"""What a checkpoint keeps of a task beside its weights, and compares when a run resumes it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tltool.data.loading.labels import TargetStats
from tltool.data.loading.samples import Splits
from tltool.models.serialization import plain
from tltool.training.calibration import CALIBRATION
from tltool.training.checkpoint_io import LOADED_HASH, TASK
from tltool.training.csv_logger import add_last_row, resume_rows
from tltool.training.measured_classifier import MeasuredClassifier
from tltool.training.metric_state import gather_sums, set_sums_
from tltool.training.moved_checkpoints import follow_moved_files_
from tltool.training.optimizer_options import optimizer_config
from tltool.training.resume_facts import (
    TRAINED_BEFORE,
    RunFacts,
    image_hashes,
    model_differences,
    trained_on,
)
from tltool.training.resume_rules import check


class TaskCheckpoint:
    """How to rebuild a task, the metrics of a begun epoch, and what the task trains on.

    Args:
        task: The task; its Trainer, if it has one by then, resumes what it keeps itself.
    """

    def __init__(self, task: MeasuredClassifier) -> None:
        self._task = task
        self._splits: Splits | None = None
        self._run_facts: RunFacts | None = None
        self._trained_before: Tensor | None = None
        #: The `optimizer_config` of the run that is resumed.
        self.saved_optimizer: dict[str, Any] | None = None

    def begin(self, splits: Splits, world_size: int) -> None:
        """Note what the task is trained on from now on."""
        self._splits = splits
        self._run_facts = RunFacts.of(splits, world_size)

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Add everything to a checkpoint."""
        checkpoint[TASK] = self._task.task_config
        checkpoint[LOADED_HASH] = self._task.backbone.loaded_hash
        if self._task.calibration.num_images:
            checkpoint[CALIBRATION] = self._task.calibration.state_dict()
        trainer = self._task._trainer
        if trainer is not None:
            checkpoint["train_metrics"] = gather_sums(self._task.train_metrics)
            add_last_row(checkpoint, trainer)
            if trainer.optimizers:
                checkpoint["optimizer"] = optimizer_config(trainer.optimizers[0])
        if self._run_facts is not None:
            checkpoint["run_facts"] = self._run_facts.state_dict()
            if self._trained_before is not None:
                checkpoint["run_facts"][TRAINED_BEFORE] = self._trained_before

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Restore the metrics of a begun epoch; warn of what else was trained on.

        Raises:
            ValueError: If the checkpoint has other classes, preprocessing, backbone or head.
        """
        task, trainer = self._task, self._task._trainer
        now = {**task.task_config, "data_config": plain(task.data_config, "data_config")}
        check(model_differences(checkpoint[TASK], now), "The checkpoint")
        stats = checkpoint[TASK].get("target_stats")
        if stats is not None:  # Those that its head has learned, where the images are others now.
            task.set_target_stats_(TargetStats.from_plain(stats))
        task.backbone.loaded_hash = checkpoint.get(LOADED_HASH)
        self.saved_optimizer = checkpoint.get("optimizer")
        if self._splits is not None and self._run_facts is not None:
            before = checkpoint.get("run_facts", {})
            images = image_hashes(self._splits, before.get("images"))
            replace(self._run_facts, images=images).warn_of_differences(before)
            others = set(trained_on(checkpoint).tolist()) - set(images["train"].tolist())
            self._trained_before = torch.tensor(sorted(others)) if others else None
        if trainer is not None:
            sums = checkpoint.get("train_metrics", {})
            place = {"rank": trainer.global_rank, "num_ranks": trainer.world_size}
            set_sums_(task.train_metrics, sums, **place)
            resume_rows(checkpoint, trainer)
            follow_moved_files_(checkpoint, trainer)
