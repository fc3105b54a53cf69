"""The public names of tltool, for type checkers, editors and `lazy_loader`."""

from .comparison.compare import compare_heads as compare_heads
from .data.datamodules.digits import DigitsDataModule as DigitsDataModule
from .data.datamodules.elpv import ELPVDataModule as ELPVDataModule
from .data.datamodules.image_datamodule import ImageDataModule as ImageDataModule
from .data.datamodules.image_folder import ImageFolderDataModule as ImageFolderDataModule
from .data.datamodules.manifest import ManifestDataModule as ManifestDataModule
from .data.datamodules.records import ImageRecord as ImageRecord
from .data.datamodules.torchvision_datasets import TorchvisionDataModule as TorchvisionDataModule
from .features.cache import cached_features as cached_features
from .features.extraction import extract_features as extract_features
from .finetuning.phase import Phase as Phase
from .finetuning.phase import Until as Until
from .finetuning.schedule import Schedule as Schedule
from .finetuning.strategies import LPFT as LPFT
from .finetuning.strategies import BatchNormOnly as BatchNormOnly
from .finetuning.strategies import BitFit as BitFit
from .finetuning.strategies import ChosenGroups as ChosenGroups
from .finetuning.strategies import FinetuningStrategy as FinetuningStrategy
from .finetuning.strategies import FullFinetuning as FullFinetuning
from .finetuning.strategies import GradualUnfreezing as GradualUnfreezing
from .finetuning.strategies import LastBlocks as LastBlocks
from .finetuning.strategies import LayerwiseDecay as LayerwiseDecay
from .finetuning.strategies import LinearProbe as LinearProbe
from .inference.predictor import load as load
from .layers.activations import create_activation as create_activation
from .layers.initializers import init_weights_ as init_weights_
from .layers.input_norms import create_input_norm as create_input_norm
from .layers.norms import create_norm as create_norm
from .models.backbone import Backbone as Backbone
from .models.heads import Head as Head
from .models.serialization import serializable as serializable
from .surgery.activation_swap import swap_activations as swap_activations
from .surgery.edits import apply_surgery_ as apply_surgery_
from .training.callbacks.ending import Ending as Ending
from .training.callbacks.feature_caching import FeatureCaching as FeatureCaching
from .training.callbacks.finetuning import Finetuning as Finetuning
from .training.callbacks.health_monitor import HealthMonitor as HealthMonitor
from .training.image_task import ImageTask as ImageTask

__version__: str
