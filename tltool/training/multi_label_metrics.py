"""Metrics of several classes for each image: mean average precision, macro F1, accuracy."""

import warnings

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MultilabelAveragePrecision

from tltool.evaluation.per_class import macro_f1
from tltool.training.list_metric import ListMetric, RowMetric


class MeanAveragePrecision(ListMetric, MultilabelAveragePrecision):
    """The mean over the classes that occur of the average precision of each, macro mAP.

    NaN where no class occurs.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="none")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Note a batch: probabilities and labels, both ``(B, num_classes)``."""
        super().update(preds, target.long())

    def empty_states(self) -> dict[str, Tensor]:
        """See `ListMetric`."""
        probabilities = torch.empty(0, self.num_labels)
        return {"preds": probabilities, "target": probabilities.long()}

    def compute(self) -> Tensor:  # type: ignore[override]  # as in the class itself
        """Return the mean."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No positive samples found in target")
            per_class = super().compute().view(-1)
        labels = torch.cat(self.target) if isinstance(self.target, list) else self.target
        return per_class[labels.sum(dim=0) > 0].mean()


class _ClassCounts(Metric):
    """Counts of images of each class: with it, predicted as it, and both; and whole images.

    A class is predicted where its probability is above .5.

    Args:
        num_classes: Number of classes.
    """

    counts: Tensor
    right: Tensor
    exact: Tensor
    number: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        zeros = torch.zeros(3, num_classes, dtype=torch.long)
        self.add_state("counts", zeros, dist_reduce_fx="sum")
        for name in ("right", "exact", "number"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch: probabilities and labels, both ``(B, num_classes)``."""
        labeled, predicted = target > 0.5, preds > 0.5
        self.counts += torch.stack(
            [each.sum(dim=0) for each in (labeled, predicted, labeled & predicted)]
        )
        is_right = labeled == predicted
        self.right += is_right.sum()
        self.exact += is_right.all(dim=1).sum()
        self.number += len(target)


class LabelAccuracy(_ClassCounts):
    """The share of right decisions, image by image and class by class (1 - Hamming loss)."""

    def compute(self) -> Tensor:
        """Return the share."""
        return self.right / (self.number * self.counts.shape[1])


class ExactMatch(_ClassCounts):
    """The share of images of which all classes are right (subset accuracy)."""

    def compute(self) -> Tensor:
        """Return the share."""
        return self.exact / self.number


class LabelF1(_ClassCounts):
    """The mean F1 score of the classes that occur, as labels or as predictions."""

    def compute(self) -> Tensor:
        """Return the mean."""
        return macro_f1(*self.counts)


class LabelOutcomes(RowMetric):
    """The probability and the label of each class for each image, ``(N, num_classes, 2)``.

    From them follow the metrics of each class, see `MultiLabelPredictions`.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__((num_classes, 2))

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Note a batch: probabilities and labels, both ``(B, num_classes)``."""
        self.rows.append(torch.stack([preds.float(), target.float()], dim=2))

    def compute(self) -> Tensor:
        """Return them on the CPU."""
        return self.joined_rows()
