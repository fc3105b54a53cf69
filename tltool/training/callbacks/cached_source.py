"""What computes the rows that an epoch reads instead of images: a frozen backbone, or its front."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from rich.filesize import decimal

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.batch_loader import BatchLoader
from tltool.data.loading.image_dataset import ImageDataset
from tltool.features.cut_search import find_cut
from tltool.features.frozen_front import DTYPES, ActivationDtype, FrozenFront
from tltool.finetuning.phase import Phase
from tltool.models.backbone import Backbone
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.find_callback import find_callback
from tltool.training.head_start import is_limited

Source = Backbone | FrozenFront


@dataclass
class CachedSource:
    """Choose what computes the rows of an epoch, once for each phase.

    Args:
        say: Tells the user why images are read, once.
        activations: Whether activations count where layers of the backbone train.
        views: See `FeatureCaching`.
        mixup: See `FeatureCaching`.
        max_bytes: Largest size on the disk that one phase may take.
        activation_dtype: What activations are kept in.
    """

    say: Callable[[Trainer, str], None]
    activations: bool
    views: int | None
    mixup: float
    max_bytes: int
    activation_dtype: ActivationDtype
    #: What computes the activations of the phase, if they are read.
    front: FrozenFront | None = None
    _phase: Phase | None = None

    def reset(self) -> None:
        """Forget the phase, when another fit begins."""
        self._phase = self.front = None

    def of_epoch(
        self, trainer: Trainer, pl_module: LightningModule, loaders: Sequence[BatchLoader]
    ) -> Source | None:
        """Return what computes the rows of this epoch; ``None`` where images are read."""
        finetuning = find_callback(trainer, Finetuning)
        if finetuning is None or is_limited(trainer) or shards_weights(trainer):
            return None
        phases = finetuning.phases_of_epoch(trainer.current_epoch)
        data = getattr(trainer, "datamodule", None)
        if reason := self._need_of_images(data):
            self.say(trainer, reason)
            return None
        backbone: Any = pl_module.get_submodule("backbone")  # ImageTask takes only a Backbone.
        if all(set(phase.trains) == {"head"} for phase in phases):
            return backbone if self._fits(trainer, backbone.num_features, 4, loaders) else None
        views = self.num_views(data)
        if not self.activations or len(phases) > 1 or finetuning.num_epochs(phases[0]) <= views:
            return None
        if all(parameter.requires_grad for parameter in backbone.parameters()):
            return None
        if self._phase is not phases[0]:
            self._phase = phases[0]
            self.front = self._cut(trainer, backbone, loaders)
        return self.front

    def planned(self, backbone: Backbone, phase: Phase, data: ImageDataModule) -> Source | None:
        """Return what will compute the rows of a phase that is long enough, before it begins.

        Args:
            backbone: With what the phase trains trainable, and the rest frozen.
            phase: Resolved.
            data: The images.

        Returns:
            ``None`` where images will be read. The rows are of ``fp32``, which holds all numbers.
        """
        images = [data.dataset("train", augment=True), data.dataset("val")]
        if self._need_of_images(data):
            return None
        if set(phase.trains) == {"head"}:
            return None if self._excess(backbone.num_features, 4, images) else backbone
        cut = find_cut(backbone) if self.activations else ""
        if isinstance(cut, str) or self._excess(cut.size, self._width, images):
            return None
        return FrozenFront(backbone, cut, "fp32")

    def num_views(self, data: object) -> int:
        """Return how many views of each training image are computed."""
        return (self.views or 1) if _is_random(data) else 1

    @property
    def _width(self) -> int:
        """Bytes of a value of activations."""
        return DTYPES[self.activation_dtype].itemsize

    def _need_of_images(self, data: object) -> str:
        """Return why the data ask for images that are new at each visit, and another way, if so."""
        if self.views is None and _is_random(data):
            return (
                "Augmented images are computed anew in each epoch. Set --features.views 4 to draw "
                "from 4 augmented views of each, computed once."
            )
        if isinstance(data, ImageDataModule) and (data.mixup or data.cutmix) and not self.mixup:
            return (
                "mixup and cutmix mix images, so these are read in each epoch. Set "
                "--features.mixup 0.2 to mix what frozen layers compute, once, instead."
            )
        return ""

    def _cut(
        self, trainer: Trainer, backbone: Backbone, loaders: Sequence[BatchLoader]
    ) -> FrozenFront | None:
        """Return the frozen layers of a backbone in front of those that train, if it can be cut."""
        cut = trainer.strategy.broadcast(find_cut(backbone))
        if isinstance(cut, str):
            self.say(trainer, f"Images are read in each epoch: {cut}.")
            return None
        if not self._fits(trainer, cut.size, self._width, loaders):
            return None
        return FrozenFront(backbone, cut, self.activation_dtype)

    def _fits(
        self, trainer: Trainer, width: int, num_bytes: int, loaders: Sequence[BatchLoader]
    ) -> bool:
        """Tell whether the rows of all loaders are within the limit, and say so where not."""
        reason = self._excess(width, num_bytes, [loader.images.dataset for loader in loaders])
        if reason:
            self.say(trainer, reason)
        return not reason

    def _excess(self, width: int, num_bytes: int, images: Sequence[object]) -> str:
        """Return what to say where the rows of some data sets exceed the limit; empty elsewhere."""
        rows = sum(
            len(each) * ((self.views or 1) if each.transform.is_random else 1)
            for each in images
            if isinstance(each, ImageDataset)
        )
        size = rows * width * num_bytes
        if size <= self.max_bytes:
            return ""
        return (
            f"What the frozen layers compute of {rows:,} images and views would take "
            f"{decimal(size)}: images are read in each epoch. Set --features.max_size to allow it."
        )


def _is_random(data: object) -> bool:
    return isinstance(data, ImageDataModule) and data.transform(augment=True).is_random


def shards_weights(trainer: Trainer) -> bool:
    """Tell whether a strategy shards weights.

    All ranks must take part in each pass of a sharded backbone, and in extraction each has images
    of its own.
    """
    return not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)
