"""Lightning callback that measures a network by the features that a run has kept."""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from tltool.data.loading.batch_loader import BatchLoader
from tltool.data.loading.image_dataset import ImageDataset
from tltool.features.cache import find_features
from tltool.features.feature_loader import FeatureLoader
from tltool.models.backbone import Backbone
from tltool.training.added_callbacks import added_callbacks
from tltool.training.callbacks.cached_source import shards_weights
from tltool.training.checkpoint_io import CONFIG, read_checkpoint

log = logging.getLogger(__name__)


class FeatureReading(Callback):
    """Give a Trainer that measures the features of its images where all of them are kept.

    They are those of this backbone, by its weights, and of these images, by their content, on this
    kind of device and in this precision, see `find_features`; so the numbers are the same as with
    images, up to rounding. Where one is missing, images are read, and nothing is computed or kept.

    Args:
        cache_dir: The directory of the cache; ``None`` for the usual one.
    """

    def __init__(self, cache_dir: str | None = None) -> None:
        self.cache_dir = cache_dir

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look for the features of the validation images."""
        self._give(trainer, pl_module, trainer.val_dataloaders)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look for the features of the test images."""
        self._give(trainer, pl_module, trainer.test_dataloaders)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look for the features of the images to predict."""
        self._give(trainer, pl_module, trainer.predict_dataloaders)

    def _give(self, trainer: Trainer, pl_module: LightningModule, loader: Any) -> None:
        backbone = pl_module.get_submodule("backbone")
        if not isinstance(loader, BatchLoader) or not isinstance(backbone, Backbone):
            return
        images = loader.images.dataset
        if shards_weights(trainer) or not isinstance(images, ImageDataset):
            return
        precision = str(trainer.precision)
        features = find_features(backbone, images, cache=self.cache_dir, precision=precision)
        if features is None:
            return
        loader.substitute = FeatureLoader(loader, [features.tensor()])
        if trainer.is_global_zero:
            log.info(f"The features of {len(features):,} images are kept: no image is read.")


def reading_features(trainer: Trainer, caching: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Let a Trainer that measures read what a run has kept, if it has a feature cache.

    Args:
        trainer: It validates, tests or predicts.
        caching: The options of the feature cache, ``enabled`` and ``cache_dir``; empty for none.
    """
    is_there = caching.get("enabled", False)
    added = [FeatureReading(caching.get("cache_dir"))] if is_there else []
    return added_callbacks(trainer, added)


def caching_of(checkpoint_path: str | Path) -> dict[str, Any]:
    """Return the options of the feature cache with which a checkpoint was trained, if there are."""
    config = read_checkpoint(checkpoint_path, map_location="meta").get(CONFIG) or {}
    return dict(config.get("features") or {})
