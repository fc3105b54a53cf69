"""What is measured on the training, validation and test data."""

from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassF1Score,
)


def train_metrics(num_classes: int) -> MetricCollection:
    """Return the loss and top-1 accuracy of the training batches.

    Each batch is measured with the weights as they were then.
    """
    return MetricCollection(
        {"loss": MeanMetric(), "accuracy": MulticlassAccuracy(num_classes, average="micro")},
        prefix="train/",
    )


def evaluation_metrics(num_classes: int, stage: str) -> MetricCollection:
    """Return loss, top-1 accuracy, macro F1 and calibration error, exact over uneven batches.

    The calibration error is the expected calibration error over 15 bins (Guo et al., 2017,
    https://arxiv.org/abs/1706.04599).
    """
    return MetricCollection(
        {
            "loss": MeanMetric(),
            "accuracy": MulticlassAccuracy(num_classes, average="micro"),
            "f1": MulticlassF1Score(num_classes, average="macro"),
            "calibration_error": MulticlassCalibrationError(num_classes, n_bins=15),
        },
        prefix=f"{stage}/",
        compute_groups=False,
    )
