"""Gain of a run over the closed-form probe, on images that chose nothing where there are some."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.evaluation.accuracy import AccuracyInterval, accuracy_interval
from tltool.evaluation.baselines import (
    PROBE,
    compare_with_baselines,
    is_cheap_probe,
    probe_correct,
)
from tltool.evaluation.paired_differences import Difference, number_groups
from tltool.evaluation.predictions import PredictionSet
from tltool.inference.split_features import split_features
from tltool.inference.split_logits import logit_batches
from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask


@dataclass(frozen=True)
class ProbeBaseline:
    """What the closed-form probe of the frozen features is worth, before any training.

    Attributes:
        split: The images that it was measured on.
        correct: Whether each is right, ``(N,)``.
        groups: The group of each image, where the data has groups.
    """

    split: SplitName
    correct: Tensor
    groups: list[int] | None

    @property
    def accuracy(self) -> AccuracyInterval:
        """Its accuracy."""
        return accuracy_interval(self.correct, self.groups)


@dataclass(frozen=True)
class RunGain:
    """A trained task beside the probe.

    Attributes:
        probe: The baseline.
        correct: Whether the task is right on each of its images, ``(N,)``.
        is_optimistic: Whether the same images have chosen the weights of the task.
    """

    probe: ProbeBaseline
    correct: Tensor
    is_optimistic: bool

    @property
    def accuracy(self) -> AccuracyInterval:
        """The accuracy of the task."""
        return accuracy_interval(self.correct, self.probe.groups)

    @property
    def difference(self) -> Difference:
        """The task's accuracy less that of the probe, paired over the images."""
        baselines = {PROBE: self.probe.correct}
        return compare_with_baselines(self.correct, baselines, self.probe.groups)[PROBE]


def measure_probe(
    backbone: Backbone, data: ImageDataModule, *, caching: Mapping[str, Any], precision: str
) -> ProbeBaseline | None:
    """Fit the closed-form probe and measure it on the test images, or else those that validate.

    Args:
        backbone: The network as it is before training.
        data: Its images.
        caching: The options of the feature cache.
        precision: As in Lightning's Trainer.

    Returns:
        ``None`` where the fit would take long, see `is_cheap_probe`.
    """
    split: SplitName = "test" if data.splits.test else "val"
    train, measured = data.samples("train"), data.samples(split)
    options: dict[str, Any] = {"caching": caching, "precision": precision}
    features = split_features(backbone, data, "train", **options).float()
    if not is_cheap_probe(features):
        return None
    found = split_features(backbone, data, split, **options).float()
    labels, found_labels = (torch.tensor(samples.labels) for samples in (train, measured))
    correct = probe_correct((features, labels), (found, found_labels), data.num_classes)
    return ProbeBaseline(split, correct, number_groups(measured.groups))


def measure_gain(
    task: ImageTask,
    data: ImageDataModule,
    probe: ProbeBaseline,
    *,
    precision: str,
    is_optimistic: bool,
) -> RunGain:
    """Measure a trained task on the images that the probe was measured on.

    Args:
        task: On its device; it is put into evaluation mode.
        data: Its images.
        probe: See `measure_probe`.
        precision: As in Lightning's Trainer.
        is_optimistic: Whether the same images have chosen the weights of the task.
    """
    parts = [
        PredictionSet.from_probabilities(logits.softmax(dim=1), labels)
        for logits, labels in logit_batches(task, data, probe.split, precision=precision)
    ]
    return RunGain(probe, PredictionSet.joined(parts).correct, is_optimistic)
