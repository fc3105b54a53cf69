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
        is_random = isinstance(data, ImageDataModule) and data.transform(augment=True).is_random
        if self._needs_images(trainer, is_random):
            return None
        backbone: Any = pl_module.get_submodule("backbone")  # ImageTask takes only a Backbone.
        if all(set(phase.trains) == {"head"} for phase in phases):
            return backbone if self._fits(trainer, backbone.num_features, 4, loaders) else None
        views = (self.views or 1) if is_random else 1
        if not self.activations or len(phases) > 1 or finetuning.num_epochs(phases[0]) <= views:
            return None
        if all(parameter.requires_grad for parameter in backbone.parameters()):
            return None
        if self._phase is not phases[0]:
            self._phase = phases[0]
            self.front = self._cut(trainer, backbone, loaders)
        return self.front

    def _needs_images(self, trainer: Trainer, is_random: bool) -> bool:
        """Tell whether the data ask for images that are new at each visit; offer another way."""
        data = getattr(trainer, "datamodule", None)
        if self.views is None and is_random:
            self.say(
                trainer,
                "Augmented images are computed anew in each epoch. Set --features.views 4 to draw "
                "from 4 augmented views of each, computed once.",
            )
            return True
        if isinstance(data, ImageDataModule) and (data.mixup or data.cutmix) and not self.mixup:
            self.say(
                trainer,
                "mixup and cutmix mix images, so these are read in each epoch. Set "
                "--features.mixup 0.2 to mix what frozen layers compute, once, instead.",
            )
            return True
        return False

    def _cut(
        self, trainer: Trainer, backbone: Backbone, loaders: Sequence[BatchLoader]
    ) -> FrozenFront | None:
        """Return the frozen layers of a backbone in front of those that train, if it can be cut."""
        cut = trainer.strategy.broadcast(find_cut(backbone))
        if isinstance(cut, str):
            self.say(trainer, f"Images are read in each epoch: {cut}.")
            return None
        width = DTYPES[self.activation_dtype].itemsize
        if not self._fits(trainer, cut.size, width, loaders):
            return None
        return FrozenFront(backbone, cut, self.activation_dtype)

    def _fits(
        self, trainer: Trainer, width: int, num_bytes: int, loaders: Sequence[BatchLoader]
    ) -> bool:
        """Tell whether the rows of all loaders are within the limit, and say so where not."""
        images = [loader.images.dataset for loader in loaders]
        rows = sum(
            len(each) * ((self.views or 1) if each.transform.is_random else 1)
            for each in images
            if isinstance(each, ImageDataset)
        )
        size = rows * width * num_bytes
        if size <= self.max_bytes:
            return True
        self.say(
            trainer,
            f"What the frozen layers compute of {rows:,} images and views would take "
            f"{decimal(size)}: images are read in each epoch. Set --features.max_size to allow it.",
        )
        return False


def shards_weights(trainer: Trainer) -> bool:
    """Tell whether a strategy shards weights.

    All ranks must take part in each pass of a sharded backbone, and in extraction each has images
    of its own.
    """
    return not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)
