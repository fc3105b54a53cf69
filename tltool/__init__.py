"""tltool fine-tunes pretrained image backbones."""

from typing import TYPE_CHECKING

from tltool._lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.comparison.compare import compare_heads as compare_heads
    from tltool.data.datamodules.digits import DigitsDataModule as DigitsDataModule
    from tltool.data.datamodules.elpv import ELPVDataModule as ELPVDataModule
    from tltool.data.datamodules.image_datamodule import ImageDataModule as ImageDataModule
    from tltool.data.datamodules.image_folder import ImageFolderDataModule as ImageFolderDataModule
    from tltool.data.datamodules.manifest import ManifestDataModule as ManifestDataModule
    from tltool.data.datamodules.torchvision_datasets import (
        TorchvisionDataModule as TorchvisionDataModule,
    )
    from tltool.features.cache import cached_features as cached_features
    from tltool.features.extraction import extract_features as extract_features
    from tltool.finetuning.phase import Phase as Phase
    from tltool.finetuning.phase import Until as Until
    from tltool.finetuning.schedule import Schedule as Schedule
    from tltool.finetuning.strategies import LPFT as LPFT
    from tltool.finetuning.strategies import BatchNormOnly as BatchNormOnly
    from tltool.finetuning.strategies import BitFit as BitFit
    from tltool.finetuning.strategies import ChosenGroups as ChosenGroups
    from tltool.finetuning.strategies import FinetuningStrategy as FinetuningStrategy
    from tltool.finetuning.strategies import FullFinetuning as FullFinetuning
    from tltool.finetuning.strategies import GradualUnfreezing as GradualUnfreezing
    from tltool.finetuning.strategies import LastBlocks as LastBlocks
    from tltool.finetuning.strategies import LayerwiseDecay as LayerwiseDecay
    from tltool.finetuning.strategies import LinearProbe as LinearProbe
    from tltool.inference.predictor import load as load
    from tltool.layers.activations import create_activation as create_activation
    from tltool.layers.initializers import init_weights_ as init_weights_
    from tltool.layers.input_norms import create_input_norm as create_input_norm
    from tltool.layers.norms import create_norm as create_norm
    from tltool.models.backbone import Backbone as Backbone
    from tltool.models.heads import Head as Head
    from tltool.models.serialization import serializable as serializable
    from tltool.surgery.activation_swap import swap_activations as swap_activations
    from tltool.surgery.edits import apply_surgery_ as apply_surgery_
    from tltool.training.callbacks.feature_caching import FeatureCaching as FeatureCaching
    from tltool.training.callbacks.finetuning import Finetuning as Finetuning
    from tltool.training.callbacks.health_monitor import HealthMonitor as HealthMonitor
    from tltool.training.image_task import ImageTask as ImageTask

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Backbone": "tltool.models.backbone",
        "BatchNormOnly": "tltool.finetuning.strategies",
        "BitFit": "tltool.finetuning.strategies",
        "ChosenGroups": "tltool.finetuning.strategies",
        "DigitsDataModule": "tltool.data.datamodules.digits",
        "ELPVDataModule": "tltool.data.datamodules.elpv",
        "FeatureCaching": "tltool.training.callbacks.feature_caching",
        "Finetuning": "tltool.training.callbacks.finetuning",
        "FinetuningStrategy": "tltool.finetuning.strategies",
        "FullFinetuning": "tltool.finetuning.strategies",
        "GradualUnfreezing": "tltool.finetuning.strategies",
        "Head": "tltool.models.heads",
        "HealthMonitor": "tltool.training.callbacks.health_monitor",
        "ImageDataModule": "tltool.data.datamodules.image_datamodule",
        "ImageFolderDataModule": "tltool.data.datamodules.image_folder",
        "ImageTask": "tltool.training.image_task",
        "LPFT": "tltool.finetuning.strategies",
        "LastBlocks": "tltool.finetuning.strategies",
        "LayerwiseDecay": "tltool.finetuning.strategies",
        "LinearProbe": "tltool.finetuning.strategies",
        "ManifestDataModule": "tltool.data.datamodules.manifest",
        "Phase": "tltool.finetuning.phase",
        "Schedule": "tltool.finetuning.schedule",
        "TorchvisionDataModule": "tltool.data.datamodules.torchvision_datasets",
        "Until": "tltool.finetuning.phase",
        "apply_surgery_": "tltool.surgery.edits",
        "cached_features": "tltool.features.cache",
        "compare_heads": "tltool.comparison.compare",
        "create_activation": "tltool.layers.activations",
        "create_input_norm": "tltool.layers.input_norms",
        "create_norm": "tltool.layers.norms",
        "extract_features": "tltool.features.extraction",
        "init_weights_": "tltool.layers.initializers",
        "load": "tltool.inference.predictor",
        "serializable": "tltool.models.serialization",
        "swap_activations": "tltool.surgery.activation_swap",
    },
)
