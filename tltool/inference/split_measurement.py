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
from tltool.evaluation.predictions import PredictionSet
from tltool.evaluation.temperature import rescale
from tltool.inference.checkpoint_trust import read_trust
from tltool.inference.data_prediction import single_device_trainer
from tltool.inference.head_features import head_features
from tltool.inference.predictor import Predictor
from tltool.inference.split_doubts import Doubts, find_doubts
from tltool.inference.split_features import probe_splits, split_features
from tltool.inference.split_limits import SplitLimits
from tltool.inference.start_backbone import start_backbone
from tltool.training.backbone_start import calibrate_backbone_
from tltool.training.callbacks.feature_reading import reading_features


def measure_split(
    predictor: Predictor,
    data: ImageDataModule,
    *,
    with_probe: bool = True,
    caching: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> MeasuredSplit:
    """Predict the test images, or the validation images where there are none.

    Args:
        predictor: The checkpoint.
        data: Its data.
        with_probe: Fit the closed-form probe too, which needs features of all images, and the
            weights that the run began with: without them `MeasuredSplit.no_probe` says why.
        caching: The options of the feature cache, by which features are looked up.
        seed: Of the run: random weights of the backbone are drawn by it again.
    """
    split: SplitName = "test" if data.splits.test else "val"
    samples = data.samples(split)
    labels = torch.tensor(samples.labels)
    paths: list[str] = []
    trust = None if predictor.source is None else read_trust(predictor.source)
    limits = None if trust is None else SplitLimits(trust, data.num_classes)

    kind, kept, unscaled = predictor.task.prediction_kind, list[Tensor](), list[Tensor]()
    temperature, calibration = predictor.temperature, predictor.task.calibration

    def measure(batch: list[str], outputs: Tensor) -> None:
        expected = labels[len(paths) : len(paths) + len(batch)]
        paths.extend(batch)
        kept.append(kind.columns(outputs, expected))
        if temperature != 1:
            unscaled.append(kind.columns(rescale(outputs, 1 / temperature), expected))
        seen = features.take()
        if limits is not None:
            limits.add(outputs, seen, expected)

    trainer, caching = single_device_trainer(), caching or {}
    kept_in = caching if predictor.tta == "none" else {}  # They are of one view of each image.
    with head_features(predictor.task) as features, reading_features(trainer, kept_in):
        predictor.predict_batches(data, measure, split, trainer=trainer)
    positions = torch.arange(len(labels))
    scaled = kind.from_columns(torch.cat(kept), positions)
    raw = kind.from_columns(torch.cat(unscaled), positions) if unscaled else scaled
    # What a temperature is worth, the images that fitted it do not say.
    is_shown = temperature != 1 and not calibration.num_shared(data.splits, split)
    train_labels = torch.tensor(data.samples("train").labels)
    baselines = constant_baselines(train_labels, labels, kind.objective)
    doubts, no_probe = Doubts([], {}), ""
    try:
        backbone = start_backbone(predictor.task, seed=seed) if with_probe else None
    except (OSError, ValueError) as error:  # The rest is measured without its weights.
        backbone, no_probe = None, str(error)
    if backbone is not None:
        # As it was before training, and so perhaps in the cache.
        calibrate_backbone_(backbone, data)
        learned = probe_splits(data, split)
        rows = [split_features(backbone, data, name, caching=caching) for name in learned]
        train = torch.cat([torch.tensor(data.samples(name).labels) for name in learned])
        test = split_features(backbone, data, split, caching=caching)
        found = probe_predictions((torch.cat(rows), train), (test, labels), kind)
        baselines[PROBE] = found.per_image
        if kind.objective == "single_label":
            doubts = find_doubts(data, split, torch.cat([rows[0], test]))
    return MeasuredSplit(
        split=split,
        class_names=predictor.class_names,
        predictions=scaled if is_shown else raw,
        paths=paths,
        names=names_from_root(paths, getattr(data, "root", None)),
        groups=number_groups(samples.groups),
        baselines=baselines,
        majority=data.class_names[majority_class(train_labels)] if MAJORITY in baselines else "",
        uncalibrated=raw if is_shown and isinstance(raw, PredictionSet) else None,
        calibration=calibration.describe(data.splits, split),
        limits=None if limits is None else limits.result(data, split),
        doubts=doubts.sentences,
        doubt_counts=doubts.counts,
        no_probe=no_probe,
    )
