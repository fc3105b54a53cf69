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
from tltool.inference.split_features import split_features
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
    train, measured = data.samples("train"), data.samples(split)
    options: dict[str, Any] = {"caching": caching, "precision": precision, "front": front}
    features = split_features(task.backbone, data, "train", **options).float()
    if not is_cheap_probe(features):
        return None
    found = split_features(task.backbone, data, split, **options).float()
    labels, found_labels = (torch.tensor(samples.labels) for samples in (train, measured))
    kind = task.prediction_kind
    predictions = probe_predictions((features, labels), (found, found_labels), kind)
    return ProbeBaseline(split, predictions, number_groups(measured.groups))


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
