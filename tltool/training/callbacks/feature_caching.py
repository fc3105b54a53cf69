"""Lightning callback for the cache: what frozen layers compute is read instead of images."""

import logging
from typing import Any, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tltool._lookup import lookup
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.batch_loader import BatchLoader, TrainingLoader
from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.mixing_collate import check_alpha
from tltool.features.activation_cut import ActivationCut
from tltool.features.cache import Features, cached_features
from tltool.features.feature_loader import FeatureLoader, FeatureMixing
from tltool.features.frozen_front import (
    ActivationDtype,
    ActivationRangeError,
    FrozenFront,
)
from tltool.features.row_lookup import PassStoppedError
from tltool.features.sizes import parse_size
from tltool.features.store import NotKeptError
from tltool.finetuning.phase import Phase
from tltool.models.backbone import Backbone
from tltool.training.callbacks.cached_source import CachedSource, Source, shards_weights
from tltool.training.callbacks.signal_stop import stop_unsaved
from tltool.training.distributed.signals import SIGNALS
from tltool.training.head_start import start_head_
from tltool.training.image_task import ImageTask

log = logging.getLogger(__name__)


class FeatureCaching(Callback):
    """Pass each image through frozen layers once, and train the others on what comes out.

    An epoch in which only the head trains reads features instead of images; one in which the last
    layers of the backbone train reads the activations in front of them, where the network can be
    cut (see `find_cut`) and the phase is long enough that fewer passes are needed. All that in
    Lightning's own loop: order, metrics, checkpoints and callbacks stay the same, and so do the
    results up to rounding, see `TOLERANCES` for activations. Both are kept on disk, see
    `cached_features`, so the next run with these images and this backbone computes none. In other
    epochs nothing changes.

    It works with the loaders of `ImageDataModule`, and stands behind `Finetuning` in the list of
    callbacks. Where the Trainer limits the batches of an epoch, or shards the weights, images are
    read as they come.

    Args:
        enabled: Whether it does anything.
        activations: Whether it does so where layers of the backbone train too.
        views: With augmented images, the number of augmented views of each image that are computed
            and then drawn from; ``None`` computes a new one at each visit, and caches nothing.
        mixup: How strongly the features of two images are blended, see `FeatureMixing`. Without it
            images are read where the data have mixup or cutmix, which change images only.
        max_size: Largest size on the disk that one phase or the start of the head may take, such as
            ``10GB`` or ``500MB``; beyond it, or where the disk is too full for activations, images
            are read.
        activation_dtype: What activations are kept in. ``fp16`` and ``bf16`` take half the space of
            ``fp32``; what is too large for ``fp16`` is kept in ``bf16``.
        cache_dir: The directory of the cache; ``None`` for the environment variable
            ``TLTOOL_CACHE``, or ``~/.cache/tltool/features``.

    Raises:
        ValueError: If ``views``, ``mixup`` or a size is out of its range, or a type is unknown.
    """

    def __init__(
        self,
        *,
        enabled: bool = True,
        activations: bool = True,
        views: int | None = 4,
        mixup: float = 0.0,
        max_size: str = "10GB",
        activation_dtype: ActivationDtype = "fp16",
        cache_dir: str | None = None,
    ) -> None:
        if views is not None and views < 1:
            raise ValueError(f"`views` must be at least 1, got {views}. Set --features.views 4.")
        check_alpha(mixup, name="mixup")
        max_bytes = parse_size(max_size)
        lookup(dict.fromkeys(get_args(ActivationDtype)), activation_dtype, kind="activation_dtype")
        self.activations = activations
        self.enabled = enabled
        self.views = views
        self.mixup = mixup
        self.cache_dir = cache_dir
        self._said: set[str] = set()
        self._num_computed = 0
        self._source = CachedSource(
            say=self._say,
            activations=activations,
            views=views,
            mixup=mixup,
            max_bytes=max_bytes,
            activation_dtype=activation_dtype,
        )

    def planned_source(
        self, backbone: Backbone, phase: Phase, data: ImageDataModule
    ) -> Source | None:
        """Return what will compute the rows that a long phase reads, see `CachedSource.planned`."""
        return self._source.planned(backbone, phase, data) if self.enabled else None

    def num_views(self, data: ImageDataModule) -> int:
        """Return how many views of each training image are computed; of so few epochs, none is."""
        return self._source.num_views(data)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the head start from features that are kept, see `start_head_`."""
        self._said.clear()
        self._num_computed = 0
        self._source.reset()
        data = getattr(trainer, "datamodule", None)
        if not (self.enabled and isinstance(data, ImageDataModule)) or shards_weights(trainer):
            return
        if self.mixup and data.objective == "regression":
            raise ValueError(
                "`features.mixup` mixes the classes of two images, and the objective is "
                "regression. Set --features.mixup 0."
            )
        backbone = pl_module.get_submodule("backbone")
        if not isinstance(backbone, Backbone):  # `start_head_` says what it needs.
            return
        if 4 * backbone.num_features * len(data.samples("train")) > self._source.max_bytes:
            return  # The task passes the images, and keeps nothing.

        def read() -> Tensor:
            workers = data.evaluation_dataloader("train").num_workers
            return self._compute(trainer, backbone, data.dataset("train"), workers).tensor()

        start_head_(pl_module, data, read=read)

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
        """Give the loaders features or activations, or take them away."""
        loaders = (trainer.train_dataloader, trainer.val_dataloaders)
        own = [loader for loader in loaders if isinstance(loader, BatchLoader)]
        if not self.enabled or not own:
            return
        source = self._source.of_epoch(trainer, pl_module, own)
        while not self._give(trainer, source, own):
            source = self._source.front
        cut = source.cut if isinstance(source, FrozenFront) else None
        if isinstance(pl_module, ImageTask):
            pl_module.activation_cut = cut
        if source is not None and not trainer.sanity_checking:
            self._say_used(trainer, cut, [loader.substitute for loader in own])

    def _give(self, trainer: Trainer, source: Source | None, loaders: list[BatchLoader]) -> bool:
        """Give all loaders the rows of a source; where its activations cannot be kept, change it.

        The activations of a phase are of one type, whichever loader was the first.
        """
        cut = source.cut if isinstance(source, FrozenFront) else None
        try:
            for loader in loaders:
                substitute = loader.substitute
                if source is None:
                    loader.substitute = None
                elif not (isinstance(substitute, FeatureLoader) and substitute.cut == cut):
                    loader.substitute = self._feature_loader(trainer, source, loader)
        except ActivationRangeError as error:
            assert isinstance(source, FrozenFront)  # noqa: S101  # the only one that raises it
            self._say(trainer, f"{error} So they are.")
            self._source.front = source.in_dtype("bf16")
        except NotKeptError as error:
            self._say(trainer, f"Images are read in each epoch: {error}.")
            self._source.front = None
        else:
            return True
        for loader in loaders:
            loader.substitute = None
        return False

    def _feature_loader(
        self, trainer: Trainer, source: Source, loader: BatchLoader
    ) -> FeatureLoader:
        dataset = loader.images.dataset
        assert isinstance(dataset, ImageDataset)  # noqa: S101  # the loaders of ImageDataModule
        features = self._compute(trainer, source, dataset, loader.images.num_workers)
        cut = source.cut if isinstance(source, FrozenFront) else None
        views = [
            features.tensor(view=view) if cut is None else features.rows(view=view)
            for view in range(features.num_views)
        ]
        data, mixing = getattr(trainer, "datamodule", None), None
        if isinstance(loader, TrainingLoader) and isinstance(data, ImageDataModule):
            mixing = FeatureMixing(data.num_classes, alpha=self.mixup) if self.mixup else None
        return FeatureLoader(loader, views, cut=cut, mixing=mixing)

    def _compute(
        self,
        trainer: Trainer,
        source: Source,
        dataset: ImageDataset,
        workers: int,
    ) -> Features:
        try:
            features = cached_features(
                source,
                dataset,
                cache=self.cache_dir,
                num_workers=workers,
                precision=str(trainer.precision),
                num_views=self.views or 1,
                show_progress=trainer.is_global_zero,
                is_stopped=lambda: SIGNALS.has_come,
            )
        except PassStoppedError:  # Between epochs, of which the last one is saved.
            stop_unsaved(trainer)
            raise
        self._num_computed += features.num_computed
        return features

    def _say_used(
        self, trainer: Trainer, cut: ActivationCut | None, substitutes: list[Any]
    ) -> None:
        loaders = [each for each in substitutes if isinstance(each, FeatureLoader)]
        number = sum(len(loader.views[0]) for loader in loaders)
        views = max(len(loader.views) for loader in loaders)
        of_views = f", {views} views of each training image" if views > 1 else ""
        place = "The backbone is frozen: the head reads features"
        if cut is not None:
            front = cut.boundary.removeprefix("model.")
            place = f"Frozen up to {front}: the layers behind read activations"
        self._say(
            trainer,
            f"{place} of {number} images{of_views} ({self._num_computed} computed now, the others "
            "kept). --features.enabled false turns it off.",
        )

    def _say(self, trainer: Trainer, message: str) -> None:
        """Say something once in a fit, on the first rank."""
        if trainer.is_global_zero and message not in self._said:
            log.info(message)
        self._said.add(message)
