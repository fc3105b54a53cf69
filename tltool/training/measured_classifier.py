"""A classifier whose steps count loss and metrics of training, validation and test."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from tltool._objective import MONITORS
from tltool.data.loading.labels import TargetStats
from tltool.evaluation.prediction_kind import PredictionKind
from tltool.models.backbone import Backbone
from tltool.training.batch_format import as_named_batch
from tltool.training.classifier import Classifier
from tltool.training.distributed.sharding import is_sharded
from tltool.training.metrics import SCALED, CalibrationError, Stage, stage_metrics


class MeasuredClassifier(Classifier):
    """One step for training, validation and test, and the metrics of each.

    Args:
        backbone: See `Classifier`.
        head: See `Classifier`.
        class_names: Names of the classes in the order of their labels.
        data_config: Preprocessing of the images.
        **arguments: See `Classifier`.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        *,
        class_names: list[str],
        data_config: dict[str, Any],
        **arguments: Any,
    ) -> None:
        super().__init__(
            backbone,
            head,
            num_classes=len(class_names),
            class_names=class_names,
            data_config=data_config,
            **arguments,
        )
        self.class_names = class_names
        self.data_config = data_config
        self.set_target_stats_(self.target_stats)
        #: Of one class for each image, at the temperature of the checkpoint.
        self.scaled_calibration = CalibrationError()
        #: Makes the views of images whose predictions are averaged.
        self.views: Callable[[Tensor], Sequence[Tensor]] = lambda images: [images]
        #: Confusion matrix of the last evaluation, rows are labels; see `confusion_matrix`.
        self.confusion: Tensor | None = None
        #: Of several classes for each image, see `LabelOutcomes`, of the last evaluation.
        self.outcomes: Tensor | None = None

    def set_target_stats_(self, stats: TargetStats | None) -> None:
        """Set what standardizes the targets of a regression, in place, and make its metrics."""
        self._set_target_scale_(stats)
        number, kind = len(self.class_names), (self.objective, stats)
        self.train_metrics = stage_metrics(number, "train", *kind).to(self.device)
        self.val_metrics = stage_metrics(number, "val", *kind).to(self.device)
        self.test_metrics = stage_metrics(number, "test", *kind).to(self.device)

    def metrics_of(self, stage: Stage) -> MetricCollection:
        """Return the metrics of a stage; they move with the task."""
        metrics: MetricCollection = getattr(self, f"{stage}_metrics")
        return metrics

    def _step(self, batch: dict[str, Any], stage: Stage) -> tuple[Tensor, Tensor]:
        """Measure a batch; return its loss and its `predictions`."""
        batch = self._named(batch)  # In a loop without the hooks of a Trainer.
        if batch.get("paths") == []:  # The share of a rank where images are too few for all.
            if is_sharded(self):  # The ranks with images gather the weights together with this one.
                self(torch.zeros(1, *self.data_config["input_size"], device=self.device))
            nothing = torch.zeros(0, len(self.class_names), device=self.device)
            return nothing.sum(), nothing
        labels = batch["labels"]  # (B,), or (B, num_classes) of mixed images
        hard_labels = batch.get("hard_labels", labels)
        logits = self.logits(batch)
        if stage == "train":
            loss = self.training_loss(logits, labels)
        else:  # Without smoothing and weights, so that runs can be compared.
            loss = self.plain_loss(logits, labels)
            self._measure_scaled(logits, hard_labels)
        predicted = self.predictions(logits.detach())
        self.metrics_of(stage).update(
            value=loss.detach(), weight=len(labels), preds=predicted, target=hard_labels
        )
        return loss, predicted

    @property
    def prediction_kind(self) -> PredictionKind:
        """What makes predictions of its outputs and of labels."""
        levels = None if self.target_stats is None else self.target_stats.levels
        return PredictionKind(len(self.class_names), self.objective, self.thresholds, levels)

    def _measure_scaled(self, logits: Tensor, labels: Tensor) -> None:
        temperature = self.calibration.temperature
        if temperature != 1:
            probabilities = (logits.detach().float() / temperature).softmax(dim=-1)
            self.scaled_calibration.update(probabilities, labels)

    def _take_scaled(self, stage: Stage) -> dict[str, Tensor]:
        """Return the calibration error at the checkpoint's temperature, and begin anew."""
        if self.calibration.temperature == 1:
            return {}
        error = self.scaled_calibration.compute()
        self.scaled_calibration.reset()
        return {f"{stage}/{SCALED}": error}

    def _apply_batch_transfer_handler(
        self, batch: Any, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Name the parts of a pair, as other data modules give it: callbacks see the names too.

        Not in a public hook: Lightning warns of it, and prefers that of a datamodule.
        """
        batch = super()._apply_batch_transfer_handler(batch, *args, **kwargs)
        trainer = self._trainer
        return self._named(batch, is_labeled=trainer is None or not trainer.predicting)

    def _named(self, batch: Any, *, is_labeled: bool = True) -> dict[str, Any]:
        kind: dict[str, Any] = {"objective": self.objective, "num_classes": len(self.class_names)}
        return as_named_batch(batch, **kind, is_labeled=is_labeled)

    def on_train_epoch_start(self) -> None:
        """Begin to count anew, not at the end of the epoch: it may not be over, and be resumed."""
        self.train_metrics.reset()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the loss of one training batch."""
        if "seed" in batch:  # So that a resumed step drops what it would have.
            torch.manual_seed(batch["seed"])
        return self._step(batch, "train")[0]

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Measure one validation batch; return its predictions for callbacks, see `outputs`."""
        return self.outputs(self._step(batch, "val")[1])

    def outputs(self, predicted: Tensor) -> dict[str, Tensor]:
        """Name `predictions`: ``probabilities``, or of a regression ``values`` ``(B,)``."""
        if self.objective == "regression":
            return {"values": predicted[:, 0]}
        return {"probabilities": predicted}

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Measure one test batch."""
        self._step(batch, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the predictions of one batch, see `outputs`, with its paths if it has some."""
        batch = self._named(batch, is_labeled=False)
        temperature = self.calibration.temperature  # 1, but of one class for each image.
        views = [batch]
        if "images" in batch:
            views = [{"images": view} for view in self.views(batch["images"])]
        of_views = [self.predictions(self.logits(view) / temperature) for view in views]
        predicted = torch.stack(of_views).mean(dim=0).cpu()
        known = {"paths": batch["paths"]} if "paths" in batch else {}
        return {**known, **self.outputs(predicted)}

    def on_train_epoch_end(self) -> None:
        """Log the training metrics of the epoch."""
        self._log_metrics("train")

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_metrics("test")

    def _log_metrics(self, stage: Stage) -> None:
        metrics = self.metrics_of(stage)
        values = metrics.compute()
        if stage != "train":
            metrics.reset()
            values |= self._take_scaled(stage)
        self.confusion = values.pop(f"{stage}/confusion", None)
        self.outcomes = values.pop(f"{stage}/outcomes", None)
        on_bar = {f"{stage}/loss", f"{stage}/{MONITORS[self.objective].removeprefix('val/')}"}
        for name, value in values.items():
            self.log(name, value, prog_bar=name in on_bar, rank_zero_only=False, sync_dist=False)
