"""Features of a data set for the benchmarks, computed once and kept in runs/benchmark."""

from pathlib import Path
from typing import Any

import torch
from results import FOLDER
from torch import Tensor

from tltool._atomic_write import whole_file
from tltool.data.datamodules.elpv import ELPVDataModule
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.features.extraction import extract_features
from tltool.models.backbone import Backbone

Features = dict[str, tuple[Tensor, Tensor]]


def features_of(data_name: str) -> Features:
    """Return features and labels of each split with EfficientNet-Lite0.

    Args:
        data_name: ``elpv``, ``elpv-probability`` for its four classes, or a folder of images.
    """
    path = FOLDER / f"{Path(data_name).name}-own.pt"
    if not path.is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            torch.save(_extract(data_name), partial)
    features: Features = torch.load(path, weights_only=True)
    return features


def _extract(data_name: str) -> Features:
    backbone = Backbone("tf_efficientnet_lite0")
    options: dict[str, Any] = {"data_config": backbone.data_config}
    data: ImageDataModule = (
        ELPVDataModule(target="defective" if data_name == "elpv" else "probability", **options)
        if data_name.startswith("elpv")
        else ImageFolderDataModule(data_name, **options)
    )
    features = {}
    for split in ("train", "val", "test"):
        if getattr(data.splits, split):
            loader = data.evaluation_dataloader(split)
            features[split] = extract_features(
                backbone, loader, description=f"{data_name} {split}", total=len(loader)
            )
    return features
