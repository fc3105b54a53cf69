"""Metrics of training, validation and test, from torchmetrics."""

import warnings
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC

from tltool._objective import Objective
from tltool.data.loading.labels import TargetStats
from tltool.evaluation.calibration import calibration_error, reliability_bins
from tltool.evaluation.confusion import confusion_matrix
from tltool.evaluation.per_class import macro_f1
from tltool.evaluation.regression_scores import quadratic_kappa, r_squared, spearman
from tltool.training.list_metric import ListMetric, RowMetric
from tltool.training.multi_label_metrics import (
    ExactMatch,
    LabelAccuracy,
    LabelF1,
    LabelOutcomes,
    MeanAveragePrecision,
)
from tltool.training.regression_metrics import MeanError, ScoreOfAll

Stage = Literal["train", "val", "test"]

#: The name of the calibration error at the temperature of the checkpoint.
SCALED = "calibration_error_scaled"

#: The area under the curve keeps all probabilities; above this many classes it is left out.
MAX_CLASSES_FOR_AUROC = 100


def stage_metrics(
    num_classes: int,
    stage: Stage,
    objective: Objective = "single_label",
    target: TargetStats | None = None,
) -> MetricCollection:
    """Return what is measured in training, or on validation and test data.

    In training that is the loss and top-1 accuracy of the batches, each with the weights as they
    were then. On validation and test data, exact over uneven batches, it is loss, top-1 accuracy,
    macro F1, calibration error (the expected one over 15 bins, Guo et al., 2017,
    https://arxiv.org/abs/1706.04599), the confusion matrix (rows are labels), top-5 accuracy where
    there are more than 5 classes, and the area under the ROC curve, one class against the rest, up
    to ``MAX_CLASSES_FOR_AUROC`` classes.

    Of several classes for each image it is the mean average precision ``map``, macro F1
    ``f1_macro``, the share of right decisions ``accuracy``, and that of images of which all are
    right, ``exact_match``. Of numbers it is ``mae``, ``rmse``, ``r2`` and ``spearman``, and where
    the target has levels the quadratic ``kappa`` and the ``accuracy`` of the nearest level.

    Each metric takes what it needs of ``value`` and ``weight`` (the mean loss of a batch and its
    number of images), ``preds`` (probabilities ``(B, num_classes)``, or numbers ``(B, 1)``) and
    ``target`` (the labels).

    Example:
        >>> metrics = stage_metrics(2, "train")
        >>> batch = {"preds": torch.eye(2), "target": torch.tensor([0, 0])}
        >>> metrics.update(value=torch.tensor(0.5), weight=2, **batch)
        >>> metrics.compute()["train/accuracy"]
        tensor(0.5000)
    """
    if objective == "multi_label":
        measured = _multi_label_metrics(num_classes, stage)
    elif objective == "regression":
        measured = _regression_metrics(stage, target)
    else:
        measured = _class_metrics(num_classes, stage)
    # By itself it leaves NaN out, so that a mean hides the batches without a loss; "disable" would
    # leave the weights out.
    loss = MeanMetric(nan_strategy=torch.nan)
    metrics: dict[str, Metric | MetricCollection] = {"loss": loss, **measured}
    return MetricCollection(metrics, prefix=f"{stage}/", compute_groups=False)


def _class_metrics(num_classes: int, stage: Stage) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {"accuracy": MulticlassAccuracy(num_classes, average="micro")}
    if stage != "train":
        metrics["f1"] = MacroF1(num_classes)
        metrics["calibration_error"] = CalibrationError()
        metrics["confusion"] = ConfusionMatrix(num_classes)
        if num_classes > 5:
            metrics["top5_accuracy"] = MulticlassAccuracy(num_classes, average="micro", top_k=5)
        if num_classes <= MAX_CLASSES_FOR_AUROC:
            metrics["auroc"] = PresentClassesAUROC(num_classes)
    return metrics


def _multi_label_metrics(num_classes: int, stage: Stage) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {"accuracy": LabelAccuracy(num_classes)}
    if stage != "train":
        metrics["map"] = MeanAveragePrecision(num_classes)
        metrics["f1_macro"] = LabelF1(num_classes)
        metrics["exact_match"] = ExactMatch(num_classes)
        metrics["outcomes"] = LabelOutcomes(num_classes)
    return metrics


def _regression_metrics(stage: Stage, target: TargetStats | None) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {"mae": MeanError()}
    if stage != "train":
        metrics["rmse"] = MeanError(squared=True)
        metrics["r2"] = ScoreOfAll(r_squared)
        metrics["spearman"] = ScoreOfAll(spearman)
        if target is not None and target.levels is not None:
            metrics["kappa"] = ScoreOfAll(quadratic_kappa, target)
            metrics["accuracy"] = ScoreOfAll(torch.eq, target)
    return metrics


class MacroF1(Metric):
    """The mean F1 score of the classes that occur, as labels or as predictions.

    torchmetrics' own counts in a matrix of classes by classes for each batch.

    Args:
        num_classes: Number of classes.
    """

    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        # Images of each class, predicted as it, and right.
        zeros = torch.zeros(3, num_classes, dtype=torch.long)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch: probabilities ``(B, num_classes)`` and labels ``(B,)``."""
        predicted = preds.argmax(dim=1)
        kinds = (target, predicted, target[predicted == target])
        num_classes = self.counts.shape[1]
        self.counts += torch.stack([each.bincount(minlength=num_classes) for each in kinds])

    def compute(self) -> Tensor:
        """Return the mean."""
        return macro_f1(*self.counts)


class CalibrationError(RowMetric):
    """The expected calibration error, see `calibration_error`, as reports have it.

    torchmetrics' own has a bin more, of images whose confidence is 1.
    """

    def __init__(self) -> None:
        super().__init__((2,))

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Note a batch: probabilities ``(B, num_classes)`` and labels ``(B,)``."""
        confidence, predicted = preds.float().max(dim=1)
        self.rows.append(torch.stack([confidence, (predicted == target).float()], dim=1))

    def compute(self) -> Tensor:
        """Return the error."""
        confidence, correct = self.joined_rows().T
        return torch.tensor(calibration_error(reliability_bins(confidence, correct)))


class ConfusionMatrix(RowMetric):
    """The confusion matrix, see `confusion_matrix`: its memory grows with images, not with classes.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__((2,), torch.long)
        self.num_classes = num_classes

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Note a batch: probabilities ``(B, num_classes)`` and labels ``(B,)``."""
        self.rows.append(torch.stack([target, preds.argmax(dim=1)], dim=1))

    def compute(self) -> Tensor:
        """Return the matrix, ``(num_classes, num_classes)``, on the CPU."""
        labels, predicted = self.joined_rows().T  # Not all devices know sparse ones.
        return confusion_matrix(labels, predicted, self.num_classes)


class PresentClassesAUROC(ListMetric, MulticlassAUROC):
    """The mean area under the ROC curve over the classes that occur, each against the rest.

    torchmetrics counts a class without an image as 0, which hides how good the others are. NaN
    where fewer than two classes occur.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="none")
        self.num_classes = num_classes

    def empty_states(self) -> dict[str, Tensor]:
        """See `ListMetric`."""
        labels = torch.empty(0, dtype=torch.long)
        return {"preds": torch.empty(0, self.num_classes), "target": labels}

    def compute(self) -> Tensor:  # type: ignore[override]  # as in MulticlassAUROC itself
        """Return the mean over the classes that occur."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets")
            per_class = super().compute()
        labels = torch.cat(self.target) if isinstance(self.target, list) else self.target
        counts = torch.bincount(labels, minlength=self.num_classes)
        return per_class[(counts > 0) & (counts < len(labels))].mean()
