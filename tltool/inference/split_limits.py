"""Measure what a checkpoint knows of its limits on a split, beside its metrics."""

from contextlib import AbstractContextManager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.evaluation.measured_limits import COVERAGES, LimitCounter, MeasuredLimits
from tltool.evaluation.prediction_sets import least_images
from tltool.inference.checkpoint_trust import Trust
from tltool.inference.head_features import HeadFeatures
from tltool.training.added_callbacks import added_callbacks
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import image_marks


class SplitLimits(Callback):
    """Count prediction sets and unknown images while a Trainer validates or tests.

    Args:
        trust: What the checkpoint knows.
        num_classes: Number of classes.
    """

    def __init__(self, trust: Trust, num_classes: int) -> None:
        self.trust = trust
        number = len(trust.scores.labels)
        asked = [each for each in COVERAGES if least_images(each) <= number]
        thresholds = {each: trust.scores.thresholds(each, num_classes) for each in asked}
        self.counter = LimitCounter(thresholds, num_classes)
        self._features: HeadFeatures | None = None

    def add(self, probabilities: Tensor, features: Tensor, labels: Tensor) -> None:
        """Count a batch."""
        is_unknown = self.trust.is_unknown(self.trust.unknown.score(features, probabilities.cpu()))
        self.counter.add(probabilities.cpu(), is_unknown, labels.cpu())

    def result(self, data: ImageDataModule, split: SplitName) -> MeasuredLimits:
        """Return what was counted."""
        sets, num_unknown, num_images = self.counter.counts()
        own = image_marks(data.samples(split)).tolist()
        return MeasuredLimits(
            sets,
            [each for each in COVERAGES if each not in sets],
            num_unknown,
            num_images,
            self.trust.describe(),
            len(set(own).intersection(self.trust.images.tolist())),
        )

    def gather(self, trainer: Trainer) -> None:
        """Add the counts of all ranks; all must call it."""
        device = trainer.strategy.root_device
        for name in ("sets", "unknown", "images"):
            own = getattr(self.counter, name).float().to(device)
            whole = trainer.strategy.reduce(own, reduce_op="sum")
            assert isinstance(whole, Tensor)  # noqa: S101  # as given
            setattr(self.counter, name, whole.double().cpu())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up the ranks."""
        self.gather(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up the ranks."""
        self.gather(trainer)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen to what the head gets."""
        self._features = HeadFeatures()
        self._handle = self._features.listen(pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen no more."""
        self._handle.remove()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Count a batch of validation."""
        self._count(pl_module, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Count a batch of the test."""
        self._count(pl_module, batch)

    def _count(self, task: LightningModule, batch: dict[str, Any]) -> None:
        assert isinstance(task, ImageTask)  # noqa: S101  # as `Predictor.measure` runs it
        assert self._features is not None  # noqa: S101  # since `setup`
        features = self._features.take()
        if batch.get("paths") == []:  # The share of a rank where images are too few for all.
            return
        seen = {"features": features.to(task.device), "paths": batch["paths"]}
        probabilities = task.predict_step(seen, 0)["probabilities"]  # As in prediction.
        self._features.take()
        self.add(probabilities, features, batch["labels"])


def listening(trainer: Trainer, limits: SplitLimits | None) -> AbstractContextManager[None]:
    """Let a Trainer call `SplitLimits`, if there are any."""
    return added_callbacks(trainer, [] if limits is None else [limits])
