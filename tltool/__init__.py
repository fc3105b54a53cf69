"""tltool fine-tunes pretrained image backbones."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.data.elpv import ELPVDataModule as ELPVDataModule
    from tltool.data.folder import ImageFolderDataModule as ImageFolderDataModule
    from tltool.finetuning.strategies import LPFT as LPFT
    from tltool.finetuning.strategies import FullFinetuning as FullFinetuning
    from tltool.finetuning.strategies import LinearProbe as LinearProbe
    from tltool.inference.predictor import load as load
    from tltool.models.backbone import Backbone as Backbone
    from tltool.models.heads import LinearHead as LinearHead
    from tltool.models.heads import MLPHead as MLPHead
    from tltool.training.callbacks.feature_caching import FeatureCaching as FeatureCaching
    from tltool.training.callbacks.finetuning import Finetuning as Finetuning
    from tltool.training.image_task import ImageTask as ImageTask

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Backbone": "tltool.models.backbone",
        "ELPVDataModule": "tltool.data.elpv",
        "FeatureCaching": "tltool.training.callbacks.feature_caching",
        "Finetuning": "tltool.training.callbacks.finetuning",
        "FullFinetuning": "tltool.finetuning.strategies",
        "ImageFolderDataModule": "tltool.data.folder",
        "ImageTask": "tltool.training.image_task",
        "LPFT": "tltool.finetuning.strategies",
        "LinearHead": "tltool.models.heads",
        "LinearProbe": "tltool.finetuning.strategies",
        "MLPHead": "tltool.models.heads",
        "load": "tltool.inference.predictor",
    },
)
