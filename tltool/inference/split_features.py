"""Features of a split of a datamodule, from the cache where a run has one."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.features.cache import cached_features
from tltool.features.extraction import extract_features
from tltool.features.sizes import parse_size
from tltool.models.backbone import Backbone


def split_features(
    backbone: Backbone,
    data: ImageDataModule,
    split: SplitName,
    *,
    caching: Mapping[str, Any],
    precision: str = "32-true",
) -> Tensor:
    """Return the features of a split, ``(N, num_features)``, of images as in evaluation.

    Args:
        backbone: The network.
        data: Its images.
        split: Which of them.
        caching: The options of the feature cache, ``enabled``, ``cache_dir`` and ``max_size``;
            empty for none.
        precision: As in Lightning's Trainer.
    """
    loader = data.evaluation_dataloader(split)
    size = 4 * backbone.num_features * len(data.samples(split))
    if not caching.get("enabled", False) or size > parse_size(caching["max_size"]):
        description = f"features of the {split} images"
        return extract_features(backbone, loader, description=description, total=len(loader))[0]
    features = cached_features(
        backbone,
        data.dataset(split),
        cache=caching["cache_dir"],
        batch_size=data.batch_size,
        num_workers=loader.num_workers,
        precision=precision,
        show_progress=True,
    )
    return features.tensor()
