"""Metrics of each stage of a task: counted batch by batch, computed at the end of an epoch."""

from typing import Literal

from torch import Tensor, nn
from torchmetrics import MetricCollection

from tltool.training.metrics import evaluation_metrics, note_empty_share_, train_metrics

Stage = Literal["train", "val", "test"]


class StageMetrics(nn.ModuleDict):
    """The metrics of each stage; a module, so that they move with the task that holds them.

    Args:
        num_classes: Number of classes.

    Example:
        >>> import torch
        >>> metrics = StageMetrics(2)
        >>> metrics.count("train", torch.tensor(0.5), torch.eye(2), torch.tensor([0, 0]))
        >>> metrics.finish("train")["train/accuracy"]
        tensor(0.5000)
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(
            {
                "train_metrics": train_metrics(num_classes),
                "val_metrics": evaluation_metrics(num_classes, "val"),
                "test_metrics": evaluation_metrics(num_classes, "test"),
            }
        )

    def of(self, stage: Stage) -> MetricCollection:
        """Return the metrics of a stage."""
        collection = self[f"{stage}_metrics"]
        assert isinstance(collection, MetricCollection)  # noqa: S101  # ModuleDict forgets the type
        return collection

    def count(self, stage: Stage, loss: Tensor, probabilities: Tensor, labels: Tensor) -> None:
        """Count a batch.

        Args:
            stage: The stage it belongs to.
            loss: Its mean loss.
            probabilities: ``(B, num_classes)``.
            labels: ``(B,)``.
        """
        for name, metric in self.of(stage).items(keep_base=True):
            if name == "loss":  # Weighted, for the last batch may be smaller.
                metric.update(loss, weight=len(labels))
            else:
                metric.update(probabilities, labels)

    def count_nothing(self, stage: Stage) -> None:
        """Count the share of a rank where images are too few for all, see `note_empty_share_`."""
        note_empty_share_(self.of(stage))

    def finish(self, stage: Stage) -> dict[str, Tensor]:
        """Return the values of a stage over all ranks, by name, and begin it anew."""
        metrics = self.of(stage)
        values: dict[str, Tensor] = metrics.compute()
        metrics.reset()
        return values
