"""Metrics of training, validation and test, from torchmetrics."""

import warnings

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

#: The area under the curve keeps all probabilities; above this many classes it is left out.
MAX_CLASSES_FOR_AUROC = 100


def train_metrics(num_classes: int) -> MetricCollection:
    """Return the loss and top-1 accuracy of the training batches.

    Each batch is measured with the weights as they were then.
    """
    return MetricCollection(
        {"loss": MeanMetric(), "accuracy": MulticlassAccuracy(num_classes, average="micro")},
        prefix="train/",
    )


def evaluation_metrics(num_classes: int, stage: str) -> MetricCollection:
    """Return what is measured on validation and test data, exact over uneven batches.

    Loss, top-1 accuracy, macro F1, calibration error (the expected one over 15 bins, Guo et al.,
    2017, https://arxiv.org/abs/1706.04599), the confusion matrix (rows are labels), top-5 accuracy
    where there are more than 5 classes, and the area under the ROC curve, one class against the
    rest, up to ``MAX_CLASSES_FOR_AUROC`` classes.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "loss": MeanMetric(),
        "accuracy": MulticlassAccuracy(num_classes, average="micro"),
        "f1": MulticlassF1Score(num_classes, average="macro"),
        "calibration_error": MulticlassCalibrationError(num_classes, n_bins=NUM_BINS),
        "confusion": MulticlassConfusionMatrix(num_classes),
    }
    if num_classes > 5:
        metrics["top5_accuracy"] = MulticlassAccuracy(num_classes, average="micro", top_k=5)
    if num_classes <= MAX_CLASSES_FOR_AUROC:
        metrics["auroc"] = PresentClassesAUROC(num_classes)
    return MetricCollection(metrics, prefix=f"{stage}/", compute_groups=False)


def note_empty_share_(metrics: MetricCollection) -> MetricCollection:
    """Prepare metrics for a rank that gets no image to meet those of the others; return them.

    Lists of labels and probabilities are joined over the ranks, so an empty one needs the type and
    the shape of theirs too.
    """
    for metric in metrics.values():
        if isinstance(metric, PresentClassesAUROC):
            metric.preds.append(torch.empty(0, metric.num_classes, device=metric.device))
            metric.target.append(torch.empty(0, dtype=torch.long, device=metric.device))
    return metrics


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

    def compute(self) -> Tensor:  # type: ignore[override]  # as in MulticlassAUROC itself
        """Return the mean over the classes that occur."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets")
            per_class = super().compute()
        labels = torch.cat(self.target) if isinstance(self.target, list) else self.target
        counts = torch.bincount(labels, minlength=self.num_classes)
        return per_class[(counts > 0) & (counts < len(labels))].mean()
