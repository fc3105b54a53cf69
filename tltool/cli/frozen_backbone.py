"""The frozen backbone of an experiment, on its device, and the features that it computes."""

from pathlib import Path
from typing import Any

from tltool.cli.build import Experiment
from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.num_workers import resolve_num_workers
from tltool.features.cache import Features, cached_features
from tltool.training.backbone_start import calibrate_backbone_

FROZEN_BACKBONE = {"finetuning": {"class_path": "tltool.finetuning.strategies.LinearProbe"}}
"""Defaults of commands that train no layer of the backbone, so that `Auto` splits no images off."""


def set_up_frozen_backbone(experiment: Experiment, cache: Path | None) -> dict[str, Any]:
    """Move the backbone of an experiment to where it computes, and set its data up.

    Returns:
        Cache, precision and progress, for `features_of` and `verify_features`.
    """
    trainer = experiment.device_trainer(precision=experiment.config.trainer.precision)
    experiment.backbone.to(trainer.strategy.root_device)
    experiment.data.setup("fit")
    calibrate_backbone_(experiment.backbone, experiment.data)
    trainer.precision_plugin.convert_module(experiment.backbone)
    return {"cache": cache, "precision": str(trainer.precision), "show_progress": True}


def features_of(experiment: Experiment, images: ImageDataset, **options: Any) -> Features:
    """Return the features of images; those that are not in the cache are computed.

    Args:
        experiment: See `set_up_frozen_backbone`.
        images: The images.
        **options: See `cached_features`.
    """
    data = experiment.data
    workers = resolve_num_workers(data.num_workers, 1)
    options |= {"batch_size": data.batch_size, "num_workers": workers}
    return cached_features(experiment.backbone, images, **options)


def split_names(data: ImageDataModule) -> list[SplitName]:
    """Return the splits that there are."""
    names: tuple[SplitName, ...] = ("train", "val", "test")
    return [name for name in names if getattr(data.splits, name)]
