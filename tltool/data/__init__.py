"""Datamodules, datasets, transforms, samplers: where the images come from."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.data.datamodule import ImageDataModule as ImageDataModule
    from tltool.data.digits import DigitsDataModule as DigitsDataModule
    from tltool.data.elpv import ELPVDataModule as ELPVDataModule
    from tltool.data.folder import ImageFolderDataModule as ImageFolderDataModule
    from tltool.data.manifest import ManifestDataModule as ManifestDataModule
    from tltool.data.named import TorchvisionDataModule as TorchvisionDataModule
    from tltool.data.records import ImageRecord as ImageRecord

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "DigitsDataModule": "tltool.data.digits",
        "ELPVDataModule": "tltool.data.elpv",
        "ImageDataModule": "tltool.data.datamodule",
        "ImageFolderDataModule": "tltool.data.folder",
        "ImageRecord": "tltool.data.records",
        "ManifestDataModule": "tltool.data.manifest",
        "TorchvisionDataModule": "tltool.data.named",
    },
)
