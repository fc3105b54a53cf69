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
from tltool.inference.checkpoint_trust import read_trust
from tltool.inference.head_features import head_features
from tltool.inference.predictor import Predictor
from tltool.inference.split_doubts import find_doubts
from tltool.inference.split_features import split_features
from tltool.inference.split_limits import SplitLimits
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
    trust = None if predictor.source is None else read_trust(predictor.source)
    limits = None if trust is None else SplitLimits(trust, data.num_classes)

    def measure(batch: list[str], probabilities: Tensor) -> PredictionSet:
        expected = labels[len(paths) : len(paths) + len(batch)]
        paths.extend(batch)
        if limits is not None:
            limits.add(probabilities, features.take(), expected)
        return PredictionSet.from_probabilities(probabilities, expected)

    with head_features(predictor.task) as features:
        predictions = PredictionSet.joined(predictor.predict_batches(data, measure, split))
    train_labels = torch.tensor(data.samples("train").labels)
    majority = majority_class(train_labels)
    baselines = {MAJORITY: labels == majority}
    doubts = []
    if with_probe:
        # As it was before training, and so perhaps in the cache.
        backbone = rebuild(predictor.task.task_config["backbone"])
        assert isinstance(backbone, Backbone)  # noqa: S101  # the description was written by one
        calibrate_backbone_(backbone, data)
        train = split_features(backbone, data, "train", caching=caching or {}), train_labels
        test = split_features(backbone, data, split, caching=caching or {}), labels
        baselines[PROBE] = probe_correct(train, test, data.num_classes)
        doubts = find_doubts(data, split, torch.cat([train[0], test[0]]))
    return MeasuredSplit(
        split=split,
        class_names=predictor.class_names,
        predictions=predictions,
        paths=paths,
        names=names_from_root(paths, getattr(data, "root", None)),
        groups=number_groups(samples.groups),
        baselines=baselines,
        majority=data.class_names[majority],
        limits=None if limits is None else limits.result(data, split),
        doubts=doubts,
    )
