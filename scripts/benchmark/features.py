"""Features of a data set for the benchmarks, computed once and kept in runs/benchmark."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tltool.data.datamodule import ImageDataModule
from tltool.data.elpv import ELPVDataModule
from tltool.data.folder import ImageFolderDataModule
from tltool.features.extract import extract_features
from tltool.models.backbone import Backbone

FOLDER = Path("runs/benchmark")

Features = dict[str, tuple[Tensor, Tensor]]


def features_of(data_name: str, **changes: Any) -> Features:
    """Return features and labels of each part with EfficientNet-Lite0.

    Args:
        data_name: ``elpv``, or a folder of photos.
        **changes: Entries of the preprocessing that replace the backbone's own.
    """
    variant = "-".join(f"{key}{value}" for key, value in changes.items()) or "own"
    path = FOLDER / f"{Path(data_name).name}-{variant}.pt"
    if not path.is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(_extract(data_name, changes), partial)
        partial.replace(path)
    features: Features = torch.load(path, weights_only=True)
    return features


def _extract(data_name: str, changes: dict[str, Any]) -> Features:
    backbone = Backbone("tf_efficientnet_lite0")
    config = backbone.data_config | changes
    data: ImageDataModule = (
        ELPVDataModule(data_config=config)
        if data_name == "elpv"
        else ImageFolderDataModule(data_name, data_config=config)
    )
    features = {}
    for part in ("train", "val", "test"):
        if getattr(data.splits, part):
            loader = data.evaluation_dataloader(part)
            features[part] = extract_features(
                backbone, loader, description=f"{data_name} {part}", total=len(loader)
            )
    return features
