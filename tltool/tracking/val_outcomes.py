"""What the network said of each validation photo, from all ranks."""

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from tltool.data.loading.batch_loader import BatchLoader
from tltool.data.loading.image_dataset import ImageDataset

_COLUMNS = 5


@dataclass(frozen=True)
class Outcomes:
    """One entry for each photo that was seen.

    Attributes:
        positions: Its number in the validation part, ``(N,)``.
        labels: Its class, ``(N,)``.
        predicted: The most probable class, ``(N,)``.
        confidence: The probability of that class, ``(N,)``.
        of_label: The probability of its own class, ``(N,)``.

    Example:
        >>> rows = torch.tensor([[1, 0, 0, 0.9, 0.9], [1, 0, 1, 0.6, 0.4], [0, 0, 0, 0, 0]])
        >>> Outcomes.from_rows(rows).correct
        tensor([ True, False])
    """

    positions: Tensor
    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    of_label: Tensor

    @classmethod
    def from_rows(cls, rows: Tensor) -> "Outcomes":
        """Take apart rows ``(photos, 5)``; those of unseen photos begin with 0."""
        seen = rows[:, 0] > 0
        _, labels, predicted, confidence, of_label = rows[seen].T
        positions = seen.nonzero()[:, 0]
        return cls(positions, labels.long(), predicted.long(), confidence, of_label)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> Tensor:
        """Whether each is right, ``(N,)``."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """The share of right ones."""
        return float(self.correct.double().mean())


class OutcomeCollector:
    """Note the outcomes of a validation, batch by batch.

    Args:
        loader: A loader of `ImageDataModule`, which says which photos a batch holds.
        device: Where the ranks' results meet.
    """

    def __init__(self, loader: BatchLoader, device: torch.device) -> None:
        dataset = loader.photos.dataset
        assert isinstance(dataset, ImageDataset)  # noqa: S101  # the loaders of ImageDataModule
        self.loader = loader
        self.dataset = dataset
        # Also on a rank that gets no photo, for all of them join in the sum.
        self._rows = torch.zeros(len(dataset), _COLUMNS, device=device)

    def add(self, probabilities: Tensor, labels: Tensor, batch_idx: int) -> None:
        """Note one batch: probabilities ``(B, num_classes)`` and labels ``(B,)``."""
        batches: Any = self.loader.batch_sampler
        confidence, predicted = probabilities.max(dim=1)
        of_label = probabilities.gather(1, labels[:, None])[:, 0]
        columns = [torch.ones_like(confidence), labels, predicted, confidence, of_label]
        where = torch.tensor(batches[batch_idx], device=self._rows.device)
        self._rows[where] = torch.stack([column.float() for column in columns], dim=1)

    def gather(self, trainer: Trainer) -> Outcomes:
        """Return the outcomes of all ranks; all of them must call it."""
        # Each photo is on one rank only, so the sum over the ranks joins them.
        rows = trainer.strategy.reduce(self._rows, reduce_op="sum")
        assert isinstance(rows, Tensor)  # noqa: S101  # as given
        return Outcomes.from_rows(rows.cpu())
