"""Features of a split of a datamodule, from the cache where a run has one."""

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.features.activation_rows import features_by_activations
from tltool.features.cache import cached_features
from tltool.features.extraction import extract_features
from tltool.features.frozen_front import FrozenFront
from tltool.features.sizes import parse_size
from tltool.features.store import NotKeptError
from tltool.models.backbone import Backbone

log = logging.getLogger(__name__)


def split_features(
    backbone: Backbone,
    data: ImageDataModule,
    split: SplitName,
    *,
    caching: Mapping[str, Any],
    precision: str = "32-true",
    front: FrozenFront | None = None,
) -> Tensor:
    """Return the features of a split, ``(N, num_features)``, of images as in evaluation.

    One process alone computes them, also where several train.

    Args:
        backbone: The network.
        data: Its images.
        split: Which of them.
        caching: The options of the feature cache, ``enabled``, ``cache_dir`` and ``max_size``;
            empty for none.
        precision: As in Lightning's Trainer.
        front: Layers of the backbone whose activations are kept too, see `evaluation_front`.
    """
    loader = data.evaluation_dataloader(split)
    size = 4 * backbone.num_features * len(data.samples(split))
    if not caching.get("enabled", False) or size > parse_size(caching["max_size"]):
        description = f"features of the {split} images"
        return extract_features(backbone, loader, description=description, total=len(loader))[0]
    options: dict[str, Any] = {
        "cache": caching["cache_dir"],
        "batch_size": data.batch_size,
        "num_workers": loader.num_workers,
        "precision": precision,
        "show_progress": True,
        "shares_work": False,
    }
    dataset = data.dataset(split)
    if front is not None:
        try:
            return features_by_activations(backbone, front, dataset, **options).tensor()
        except NotKeptError as error:
            log.info("Images are decoded again behind the fit: %s.", error)
    return cached_features(backbone, dataset, **options).tensor()


def probe_splits(data: ImageDataModule, measured: SplitName) -> tuple[SplitName, ...]:
    """Return the splits that a probe learns from where another one measures it.

    Without training nothing is chosen: a tuning split is not needed, and is learned too.

    Args:
        data: The images.
        measured: The split that measures, which is never among them.
    """
    return ("train", "val") if data.splits.has_tuning and measured == "test" else ("train",)
