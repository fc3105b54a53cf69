"""Metrics of training, validation and test, from torchmetrics."""

import warnings
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

from tltool.evaluation.calibration import NUM_BINS

Stage = Literal["train", "val", "test"]

#: The area under the curve keeps all probabilities; above this many classes it is left out.
MAX_CLASSES_FOR_AUROC = 100


def stage_metrics(num_classes: int, stage: Stage) -> MetricCollection:
    """Return what is measured in training, or on validation and test data.

    In training that is the loss and top-1 accuracy of the batches, each with the weights as they
    were then. On validation and test data, exact over uneven batches, it is loss, top-1 accuracy,
    macro F1, calibration error (the expected one over 15 bins, Guo et al., 2017,
    https://arxiv.org/abs/1706.04599), the confusion matrix (rows are labels), top-5 accuracy where
    there are more than 5 classes, and the area under the ROC curve, one class against the rest, up
    to ``MAX_CLASSES_FOR_AUROC`` classes.

    Each metric takes what it needs of ``value`` and ``weight`` (the mean loss of a batch and its
    number of images), ``preds`` (probabilities ``(B, num_classes)``) and ``target`` (labels
    ``(B,)``).

    Example:
        >>> metrics = stage_metrics(2, "train")
        >>> batch = {"preds": torch.eye(2), "target": torch.tensor([0, 0])}
        >>> metrics.update(value=torch.tensor(0.5), weight=2, **batch)
        >>> metrics.compute()["train/accuracy"]
        tensor(0.5000)
    """
    metrics: dict[str, Metric | MetricCollection] = {
        # By itself it leaves NaN out, so that a mean hides the batches without a loss; "disable"
        # would leave the weights out.
        "loss": MeanMetric(nan_strategy=torch.nan),
        "accuracy": MulticlassAccuracy(num_classes, average="micro"),
    }
    if stage != "train":
        metrics["f1"] = MulticlassF1Score(num_classes, average="macro")
        metrics["calibration_error"] = MulticlassCalibrationError(num_classes, n_bins=NUM_BINS)
        metrics["confusion"] = MulticlassConfusionMatrix(num_classes)
        if num_classes > 5:
            metrics["top5_accuracy"] = MulticlassAccuracy(num_classes, average="micro", top_k=5)
        if num_classes <= MAX_CLASSES_FOR_AUROC:
            metrics["auroc"] = PresentClassesAUROC(num_classes)
    return MetricCollection(metrics, prefix=f"{stage}/", compute_groups=False)


class PresentClassesAUROC(MulticlassAUROC):
    """The mean area under the ROC curve over the classes that occur, each against the rest.

    torchmetrics counts a class without an image as 0, which hides how good the others are. NaN
    where fewer than two classes occur.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="none")
        self.num_classes = num_classes

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Join the ranks; one without an image brings lists of the type and shape of the others."""
        if not self.preds:
            self.preds.append(torch.empty(0, self.num_classes, device=self.device))
            self.target.append(torch.empty(0, dtype=torch.long, device=self.device))
        super().sync(*args, **kwargs)

    def compute(self) -> Tensor:  # type: ignore[override]  # as in MulticlassAUROC itself
        """Return the mean over the classes that occur."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets")
            per_class = super().compute()
        labels = torch.cat(self.target) if isinstance(self.target, list) else self.target
        counts = torch.bincount(labels, minlength=self.num_classes)
        return per_class[(counts > 0) & (counts < len(labels))].mean()
