"""Validation predictions from all ranks, and the baselines on the same images."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from tltool.data.loading.batch_loader import BatchLoader
from tltool.data.loading.image_dataset import ImageDataset
from tltool.evaluation.baselines import compare_with_baselines, majority_class
from tltool.evaluation.paired_differences import number_groups
from tltool.evaluation.prediction_kind import PredictionKind
from tltool.evaluation.predictions import Predictions, PredictionSet


class PredictionCollector:
    """Note the predictions of a validation, batch by batch.

    Args:
        loader: A loader of `ImageDataModule`, which says which images a batch holds.
        device: Where the ranks' results meet.
        kind: What is predicted; ``None`` for one class of each image.
    """

    def __init__(
        self, loader: BatchLoader, device: torch.device, kind: PredictionKind | None = None
    ) -> None:
        self.kind = kind or PredictionKind(2)
        self.loader = loader
        self.dataset = _dataset(loader)
        # One column says whether an image was seen, the others what was predicted; also on a rank
        # that gets no image, for all of them join in the sum.
        self._rows = torch.zeros(len(self.dataset), 1 + self.kind.num_columns, device=device)

    def add(self, outputs: Tensor, labels: Tensor, batch_idx: int) -> None:
        """Note one batch, see `PredictionKind.predictions`."""
        batches: Any = self.loader.batch_sampler
        columns = self.kind.columns(outputs, labels).float()
        seen = torch.ones_like(columns[:, :1])
        self._rows[batches[batch_idx]] = torch.cat([seen, columns], dim=1)

    def gather(self, trainer: Trainer) -> Predictions:
        """Return the predictions of all ranks, of the images that were seen; all must call it."""
        # Each image is on one rank only, so the sum over the ranks joins them.
        rows = trainer.strategy.reduce(self._rows, reduce_op="sum")
        assert isinstance(rows, Tensor)  # noqa: S101  # as given
        positions = rows[:, 0].cpu().nonzero()[:, 0]
        return self.kind.from_columns(rows.cpu()[positions, 1:], positions)


def val_majority_correct(train: BatchLoader, val: BatchLoader) -> Tensor:
    """Return for which validation images the most frequent class of training is right, ``(N,)``."""
    return _labels(val) == majority_class(_labels(train))


def gains_over_baselines(
    predictions: PredictionSet,
    baselines: Mapping[str, Tensor | None],
    groups: Sequence[str] | None = None,
) -> dict[str, float]:
    """Return the accuracy of each baseline and the gain over it, on the images that were seen.

    Args:
        predictions: Of the network.
        baselines: For which of all validation images each is right; ``None`` is left out.
        groups: What each validation image belongs to, where images of one group are alike.

    Example:
        >>> seen = PredictionSet.from_probabilities(torch.eye(2), torch.tensor([0, 1]))
        >>> found = gains_over_baselines(seen, {"majority": torch.tensor([True, False])})
        >>> found["baseline/majority_accuracy"], found["gain_over_majority"]
        (0.5, 0.5)
    """
    positions = predictions.positions.tolist()
    seen = {name: each[positions] for name, each in baselines.items() if each is not None}
    numbers = number_groups(groups and [groups[index] for index in positions])
    found = {}
    for name, difference in compare_with_baselines(predictions.correct, seen, numbers).items():
        found[f"baseline/{name}_accuracy"] = float(seen[name].double().mean())
        found[f"gain_over_{name}"] = difference.estimate.mean
        found[f"gain_over_{name}_se"] = difference.estimate.standard_error
    return found


def _labels(loader: BatchLoader) -> Tensor:
    return torch.tensor(_dataset(loader).samples.labels)


def _dataset(loader: BatchLoader) -> ImageDataset:
    dataset = loader.images.dataset
    assert isinstance(dataset, ImageDataset)  # noqa: S101  # the loaders of ImageDataModule
    return dataset
