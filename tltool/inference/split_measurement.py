"""Measure a checkpoint on a split beside the baselines: predictions, constant ones, the probe."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.evaluation.baselines import (
    MAJORITY,
    PROBE,
    constant_baselines,
    majority_class,
    probe_predictions,
)
from tltool.evaluation.measured_split import MeasuredSplit, names_from_root
from tltool.evaluation.paired_differences import number_groups
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

    kind, kept = predictor.task.prediction_kind, list[Tensor]()

    def measure(batch: list[str], outputs: Tensor) -> None:
        kept.append(kind.columns(outputs, labels[len(paths) : len(paths) + len(batch)]))
        paths.extend(batch)

    predictor.predict_batches(data, measure, split)
    predictions = kind.from_columns(torch.cat(kept), torch.arange(len(labels)))
    train_labels = torch.tensor(data.samples("train").labels)
    baselines = constant_baselines(train_labels, labels, kind.objective)
    if with_probe:
        # As it was before training, and so perhaps in the cache.
        backbone = rebuild(predictor.task.task_config["backbone"])
        assert isinstance(backbone, Backbone)  # noqa: S101  # the description was written by one
        calibrate_backbone_(backbone, data)
        train = split_features(backbone, data, "train", caching=caching or {}), train_labels
        test = split_features(backbone, data, split, caching=caching or {}), labels
        baselines[PROBE] = probe_predictions(train, test, kind).per_image
    return MeasuredSplit(
        split=split,
        class_names=predictor.class_names,
        predictions=predictions,
        paths=paths,
        names=names_from_root(paths, getattr(data, "root", None)),
        groups=number_groups(samples.groups),
        baselines=baselines,
        majority=data.class_names[majority_class(train_labels)] if MAJORITY in baselines else "",
    )
