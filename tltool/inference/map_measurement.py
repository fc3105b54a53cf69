"""Measure the map of a trained network's features, on images of a split."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.loading.image_dataset import ImageDataset, collate
from tltool.evaluation.feature_map import FeatureMap, map_features
from tltool.features.cache import cached_features
from tltool.features.extraction import frozen_pass
from tltool.inference.predictor import Predictor

NUM_MAPPED = 1000
"""Images that a map shows at most, spread evenly over the split."""


def measure_map(
    predictor: Predictor,
    data: ImageDataModule,
    split: SplitName,
    *,
    caching: Mapping[str, Any],
) -> FeatureMap:
    """Return where the images of a split lie by the features of a checkpoint.

    Args:
        predictor: The checkpoint.
        data: Its data.
        split: Which images.
        caching: The options of the feature cache, ``enabled`` and ``cache_dir``; empty for none. A
            backbone that stayed frozen finds its features there.
    """
    samples, backbone = data.samples(split), predictor.task.backbone
    number = min(len(samples), NUM_MAPPED)
    chosen = [index * len(samples) // number for index in range(number)]
    images = ImageDataset(samples.subset(chosen), data.transform(), decode=data.decoder)
    if caching.get("enabled", False):
        directory, size = caching["cache_dir"], data.batch_size
        features = cached_features(backbone, images, cache=directory, batch_size=size).tensor()
        return map_features(features, chosen)
    batches = DataLoader(images, data.batch_size, collate_fn=collate)
    with frozen_pass(backbone) as network:
        rows = torch.cat([network(batch["images"]).float() for batch in batches])
    return map_features(rows, chosen)
