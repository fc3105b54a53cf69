"""Lightning callback for cached features: while only the head trains, it reads features."""

import logging
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.batch_loader import BatchLoader, TrainingLoader
from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.mixing_collate import check_alpha
from tltool.features.cache import Features, cached_features
from tltool.features.feature_loader import FeatureLoader, FeatureMixing
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.find_callback import find_callback
from tltool.training.input_norm_fit import fit_input_norm_

log = logging.getLogger(__name__)


class FeatureCaching(Callback):
    """Pass each image through a frozen backbone once, and train the head on the features.

    An epoch in which only the head trains reads features instead of images, in Lightning's own
    loop: order, metrics, checkpoints and callbacks stay the same, and so do the results up to
    rounding. Features are kept on disk, see `cached_features`, so the next run with these images
    and this backbone computes none. In other epochs nothing changes.

    It works with the loaders of `ImageDataModule`, and stands behind `Finetuning` in the list of
    callbacks. Where the Trainer limits the batches of an epoch, or shards the weights, images are
    read as they come.

    Args:
        enabled: Whether it does anything.
        views: With augmented images, the number of augmented views of each image that are computed
            and then drawn from; ``None`` goes on computing a new one at each visit.
        mixup: How strongly the features of two images are blended, see `FeatureMixing`; mixup and
            cutmix of the data change images only.
        cache_dir: The directory of the cache; ``None`` for the environment variable
            ``TLTOOL_CACHE``, or ``~/.cache/tltool/features``.

    Raises:
        ValueError: If ``views`` or ``mixup`` is out of its range.
    """

    def __init__(
        self,
        *,
        enabled: bool = True,
        views: int | None = None,
        mixup: float = 0.0,
        cache_dir: str | None = None,
    ) -> None:
        if views is not None and views < 1:
            raise ValueError(f"`views` must be at least 1, got {views}. Set --features.views 4.")
        check_alpha(mixup, name="mixup")
        self.enabled = enabled
        self.views = views
        self.mixup = mixup
        self.cache_dir = cache_dir
        self._said: set[str] = set()
        self._num_computed = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit the head's input norm, if it needs one, on features that are kept."""
        self._said.clear()
        self._num_computed = 0
        data = getattr(trainer, "datamodule", None)
        if not (self.enabled and isinstance(data, ImageDataModule)) or _is_sharded(trainer):
            return

        def read() -> Tensor:
            workers = data.evaluation_dataloader("train").num_workers
            return self._compute(trainer, pl_module, data.dataset("train"), workers).tensor()

        fit_input_norm_(pl_module, data, read=read)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the check before training read features too, if training begins with them."""
        if trainer.sanity_checking:
            self._choose(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose what the first epoch reads; one resumed in its middle has no other hook."""
        self._choose(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose what this epoch reads."""
        self._choose(trainer, pl_module)

    def _choose(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the loaders features, or take them away."""
        loaders = (trainer.train_dataloader, trainer.val_dataloaders)
        own = [loader for loader in loaders if isinstance(loader, BatchLoader)]
        if not self.enabled or not own:
            return
        can_use = self._can_use(trainer)
        for loader in own:
            if not can_use:
                loader.substitute = None
            elif not isinstance(loader.substitute, FeatureLoader):
                loader.substitute = self._feature_loader(trainer, pl_module, loader)
        if can_use and not trainer.sanity_checking:
            self._say_used(trainer, [loader.substitute for loader in own])

    def _can_use(self, trainer: Trainer) -> bool:
        finetuning = find_callback(trainer, Finetuning)
        if finetuning is None or _is_limited(trainer) or _is_sharded(trainer):
            return False
        phases = finetuning.phases_of_epoch(trainer.current_epoch)
        if any(set(phase.trains) != {"head"} for phase in phases):
            return False
        data = getattr(trainer, "datamodule", None)
        if self.views is None and isinstance(data, ImageDataModule) and data.is_random:
            self._say(
                trainer,
                "The frozen backbone computes augmented images anew in each epoch. Set "
                "--features.views 4 to draw from 4 augmented views of each, computed once, or "
                "leave the augmentation out.",
            )
            return False
        return True

    def _feature_loader(
        self, trainer: Trainer, pl_module: LightningModule, loader: BatchLoader
    ) -> FeatureLoader:
        dataset = loader.images.dataset
        assert isinstance(dataset, ImageDataset)  # noqa: S101  # the loaders of ImageDataModule
        features = self._compute(trainer, pl_module, dataset, loader.images.num_workers)
        views = [features.tensor(view=view) for view in range(features.num_views)]
        data, mixing = getattr(trainer, "datamodule", None), None
        if isinstance(loader, TrainingLoader) and isinstance(data, ImageDataModule):
            if self.mixup:
                mixing = FeatureMixing(data.num_classes, alpha=self.mixup)
            elif data.mixup or data.cutmix:
                self._say(
                    trainer,
                    "mixup and cutmix mix images, and the head now reads features. Set "
                    "--features.mixup 0.2 to mix those.",
                )
        return FeatureLoader(loader, views, mixing=mixing)

    def _compute(
        self, trainer: Trainer, pl_module: LightningModule, dataset: ImageDataset, workers: int
    ) -> Features:
        backbone: Any = pl_module.get_submodule("backbone")  # ImageTask takes only a Backbone.
        features = cached_features(
            backbone,
            dataset,
            cache=self.cache_dir,
            num_workers=workers,
            precision=str(trainer.precision),
            num_views=self.views or 1,
            show_progress=trainer.is_global_zero,
        )
        self._num_computed += features.num_computed
        return features

    def _say_used(self, trainer: Trainer, substitutes: list[Any]) -> None:
        loaders = [each for each in substitutes if isinstance(each, FeatureLoader)]
        number = sum(len(loader.views[0]) for loader in loaders)
        views = max(len(loader.views) for loader in loaders)
        of_views = f", {views} views of each training image" if views > 1 else ""
        self._say(
            trainer,
            f"The backbone is frozen: the head reads features of {number} images{of_views} "
            f"({self._num_computed} computed now, the others kept). --features.enabled false turns "
            "it off.",
        )

    def _say(self, trainer: Trainer, message: str) -> None:
        """Say something once in a fit, on the first rank."""
        if trainer.is_global_zero and message not in self._said:
            log.info(message)
        self._said.add(message)


def _is_sharded(trainer: Trainer) -> bool:
    # All ranks must take part in each pass of a sharded backbone, and here each has its own images.
    return not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)


def _is_limited(trainer: Trainer) -> bool:
    # A try of few batches should not pass all images.
    # As a number with a point, a limit is a share: 1.0 is all, and 1 is one batch.
    limits = (trainer.limit_train_batches, trainer.limit_val_batches)
    whole = all(limit == 0 or (isinstance(limit, float) and limit == 1) for limit in limits)
    return bool(trainer.fast_dev_run or trainer.overfit_batches or not whole)  # type: ignore[attr-defined]
