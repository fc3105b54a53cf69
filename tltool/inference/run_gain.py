"""Gain of a run over the closed-form probe, on images that chose nothing where there are some."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tltool._progress import with_progress
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
from tltool.features.extraction import AUTOCAST
from tltool.inference.split_features import split_features
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
    task: ImageTask, data: ImageDataModule, *, caching: Mapping[str, Any], precision: str
) -> ProbeBaseline | None:
    """Fit the closed-form probe and measure it on the test images, or else those that validate.

    Args:
        task: Its backbone is as it is before training.
        data: Its images.
        caching: The options of the feature cache.
        precision: As in Lightning's Trainer.

    Returns:
        ``None`` where the fit would take long, see `is_cheap_probe`.
    """
    split: SplitName = "test" if data.splits.test else "val"
    train, measured = data.samples("train"), data.samples(split)
    options: dict[str, Any] = {"caching": caching, "precision": precision}
    features = split_features(task.backbone, data, "train", **options).float()
    if not is_cheap_probe(features):
        return None
    found = split_features(task.backbone, data, split, **options).float()
    labels, found_labels = (torch.tensor(samples.labels) for samples in (train, measured))
    kind = task.prediction_kind
    predictions = probe_predictions((features, labels), (found, found_labels), kind)
    return ProbeBaseline(split, predictions, number_groups(measured.groups))


@torch.inference_mode()
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
    task.eval()
    device, autocast = task.device, AUTOCAST.get(precision)
    loader = data.evaluation_dataloader(probe.split)
    outputs, labels = [], []
    for batch in with_progress(loader, f"{probe.split} images", total=len(loader)):
        images = batch["images"].to(device, next(task.parameters()).dtype)
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            outputs.append(task.predictions(task(images)).cpu())
        labels.append(batch["labels"])
    found = task.prediction_kind.predictions(torch.cat(outputs), torch.cat(labels))
    return RunGain(probe, found, is_optimistic)
