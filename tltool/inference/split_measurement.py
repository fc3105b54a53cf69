"""Measure a checkpoint on a split beside the baselines: predictions, majority class, probe."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.evaluation.baselines import MAJORITY, PROBE, majority_class, probe_correct
from tltool.evaluation.measured_split import MeasuredSplit, names_from_root
from tltool.evaluation.paired_differences import number_groups
from tltool.evaluation.predictions import PredictionSet
from tltool.evaluation.temperature import rescale
from tltool.inference.predictor import Predictor
from tltool.inference.split_features import split_features
from tltool.models.backbone import Backbone
from tltool.models.serialization import rebuild
from tltool.training.backbone_start import calibrate_backbone_


def measure_split(
    predictor: Predictor,
    data: ImageDataModule,
    *,
    with_probe: bool = True,
    caching: Mapping[str, Any] | None = None,
) -> MeasuredSplit:
    """Predict the test images, or the validation images where there are none.

    Args:
        predictor: The checkpoint.
        data: Its data.
        with_probe: Fit the closed-form probe too, which needs features of all images.
        caching: The options of the feature cache, by which features are looked up.
    """
    split: SplitName = "test" if data.splits.test else "val"
    samples = data.samples(split)
    labels = torch.tensor(samples.labels)
    paths: list[str] = []

    temperature, calibration = predictor.temperature, predictor.task.calibration

    def measure(batch: list[str], probabilities: Tensor) -> list[PredictionSet]:
        expected = labels[len(paths) : len(paths) + len(batch)]
        paths.extend(batch)
        raw = probabilities if temperature == 1 else rescale(probabilities, 1 / temperature)
        return [PredictionSet.from_probabilities(each, expected) for each in (probabilities, raw)]

    batches = predictor.predict_batches(data, measure, split)
    scaled, raw = (PredictionSet.joined(parts) for parts in zip(*batches, strict=True))
    # What a temperature is worth, the images that fitted it do not say.
    is_shown = temperature != 1 and not calibration.num_shared(data.splits, split)
    train_labels = torch.tensor(data.samples("train").labels)
    majority = majority_class(train_labels)
    baselines = {MAJORITY: labels == majority}
    if with_probe:
        # As it was before training, and so perhaps in the cache.
        backbone = rebuild(predictor.task.task_config["backbone"])
        assert isinstance(backbone, Backbone)  # noqa: S101  # the description was written by one
        calibrate_backbone_(backbone, data)
        train = split_features(backbone, data, "train", caching=caching or {}), train_labels
        test = split_features(backbone, data, split, caching=caching or {}), labels
        baselines[PROBE] = probe_correct(train, test, data.num_classes)
    return MeasuredSplit(
        split=split,
        class_names=predictor.class_names,
        predictions=scaled if is_shown else raw,
        paths=paths,
        names=names_from_root(paths, getattr(data, "root", None)),
        groups=number_groups(samples.groups),
        baselines=baselines,
        majority=data.class_names[majority],
        uncalibrated=raw if is_shown else None,
        calibration=calibration.describe(data.splits, split),
    )
