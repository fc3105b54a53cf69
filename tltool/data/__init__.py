"""Datamodules, datasets, transforms, samplers: where the photos come from."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tltool.data.datamodule import ImageDataModule
    from tltool.data.elpv import ELPVDataModule
    from tltool.data.folder import ImageFolderDataModule

__all__ = ["ELPVDataModule", "ImageDataModule", "ImageFolderDataModule"]

_ROOMS = {
    "ELPVDataModule": "elpv",
    "ImageDataModule": "datamodule",
    "ImageFolderDataModule": "folder",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
