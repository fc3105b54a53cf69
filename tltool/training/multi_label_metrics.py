"""Metrics of several classes for each image: mean average precision, macro F1, accuracy."""

import warnings
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MultilabelAveragePrecision
from torchmetrics.utilities import dim_zero_cat


class MeanAveragePrecision(MultilabelAveragePrecision):
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

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Join the ranks; one without an image brings lists of the type and shape of the others."""
        if not self.preds:
            self.preds.append(torch.empty(0, self.num_labels, device=self.device))
            self.target.append(
                torch.empty(0, self.num_labels, dtype=torch.long, device=self.device)
            )
        super().sync(*args, **kwargs)

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
        labeled, predicted, both = self.counts
        occurs = labeled + predicted > 0
        f1: Tensor = (2 * both[occurs] / (labeled + predicted)[occurs]).mean()
        return f1


class LabelOutcomes(Metric):
    """The probability and the label of each class for each image, ``(N, num_classes, 2)``.

    From them follow the metrics of each class, see `MultiLabelPredictions`.

    Args:
        num_classes: Number of classes.
    """

    pairs: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("pairs", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Note a batch: probabilities and labels, both ``(B, num_classes)``."""
        self.pairs.append(torch.stack([preds.float(), target.float()], dim=2))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Join the ranks; one without an image brings a list of the type of the others."""
        if not self.pairs:
            self.pairs.append(torch.empty(0, self.num_classes, 2, device=self.device))
        super().sync(*args, **kwargs)

    def compute(self) -> Tensor:
        """Return them on the CPU."""
        return dim_zero_cat(self.pairs).cpu()
