"""Gain of a run over the closed-form probe, on images that chose nothing where there are some."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.evaluation.baselines import (
    PROBE,
    compare_with_baselines,
    is_cheap_probe,
    probe_predictions,
)
from tltool.evaluation.paired_differences import Difference, number_groups
from tltool.evaluation.predictions import Predictions
from tltool.evaluation.score_interval import ScoreInterval
from tltool.features.frozen_front import FrozenFront
from tltool.inference.split_features import probe_splits, split_features
from tltool.inference.split_logits import logit_batches
from tltool.training.image_task import ImageTask


@dataclass(frozen=True)
class ProbeBaseline:
    """What the closed-form probe of the frozen features is worth, before any training.

    Attributes:
        split: The images that it was measured on.
        predictions: Of each of them.
        groups: The group of each image, where the data has groups.
    """

    split: SplitName
    predictions: Predictions
    groups: list[int] | None

    @property
    def score(self) -> ScoreInterval:
        """Its accuracy, mean average precision or mean absolute error."""
        return self.predictions.interval(self.predictions.per_image, self.groups)


@dataclass(frozen=True)
class RunGain:
    """A trained task beside the probe.

    Attributes:
        probe: The baseline.
        predictions: Of the task for each of its images.
        is_optimistic: Whether the same images have chosen the weights of the task.
    """

    probe: ProbeBaseline
    predictions: Predictions
    is_optimistic: bool

    @property
    def score(self) -> ScoreInterval:
        """The score of the task."""
        return self.predictions.interval(self.predictions.per_image, self.probe.groups)

    @property
    def difference(self) -> Difference:
        """The task's score less that of the probe, paired over the images."""
        baselines = {PROBE: self.probe.predictions.per_image}
        return compare_with_baselines(
            self.predictions.per_image,
            baselines,
            self.probe.groups,
            score=self.predictions.score,
        )[PROBE]


def measure_probe(
    task: ImageTask,
    data: ImageDataModule,
    *,
    caching: Mapping[str, Any],
    precision: str,
    front: FrozenFront | None = None,
) -> ProbeBaseline | None:
    """Fit the closed-form probe and measure it on the test images, or else those that validate.

    It learns from the images of a tuning split too, as what `refit_start` leaves does.

    Args:
        task: Its backbone is as it is before training.
        data: Its images.
        caching: The options of the feature cache.
        precision: As in Lightning's Trainer.
        front: See `split_features`.

    Returns:
        ``None`` where the fit would take long, see `is_cheap_probe`.
    """
    split: SplitName = "test" if data.splits.test else "val"

    def read(*splits: SplitName) -> tuple[Tensor, Tensor]:
        options: dict[str, Any] = {"caching": caching, "precision": precision, "front": front}
        rows = [split_features(task.backbone, data, name, **options).float() for name in splits]
        labels = [torch.tensor(data.samples(name).labels) for name in splits]
        return torch.cat(rows), torch.cat(labels)

    train = read(*probe_splits(data, split))
    if not is_cheap_probe(train[0]):
        return None
    predictions = probe_predictions(train, read(split), task.prediction_kind)
    return ProbeBaseline(split, predictions, number_groups(data.samples(split).groups))


def measure_gain(
    task: ImageTask,
    data: ImageDataModule,
    probe: ProbeBaseline,
    *,
    precision: str,
    is_optimistic: bool,
    features: Tensor | None = None,
) -> RunGain:
    """Measure a trained task on the images that the probe was measured on.

    Args:
        task: On its device; it is put into evaluation mode.
        data: Its images.
        probe: See `measure_probe`.
        precision: As in Lightning's Trainer.
        is_optimistic: Whether the same images have chosen the weights of the task.
        features: Of these images, where they are known, see `logit_batches`.
    """
    outputs, labels = [], []
    batches = logit_batches(task, data, probe.split, precision=precision, features=features)
    for logits, expected in batches:
        outputs.append(task.predictions(logits.to(task.device)).cpu())
        labels.append(expected)
    found = task.prediction_kind.predictions(torch.cat(outputs), torch.cat(labels))
    return RunGain(probe, found, is_optimistic)
