"""Base class of the datamodules: options, checks and loaders of images."""

import logging
from collections.abc import Sequence
from typing import Any, Literal, get_args

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from tltool._lookup import lookup
from tltool._objective import Objective
from tltool._plain_text import one_line, pixel_size
from tltool.data.datamodules.labeled_images import SplitName
from tltool.data.datamodules.objective_options import refuse_class_options
from tltool.data.datamodules.prepared_images import PreparedImages
from tltool.data.datamodules.shared_options import whole_signature
from tltool.data.datamodules.stratified_split import check_tuning_fraction
from tltool.data.datamodules.yaml_names import as_names
from tltool.data.files.value_range import check_value_range
from tltool.data.loading.batch_loader import BatchLoader, TrainingLoader
from tltool.data.loading.batch_size import (
    USUAL_BATCH_SIZE,
    check_at_least_one,
    check_batch_size,
    fitting_batch_size,
)
from tltool.data.loading.class_balance import Sampling
from tltool.data.loading.device_share import DeviceShare, batches_done, common_seed, device_share
from tltool.data.loading.image_dataset import collate
from tltool.data.loading.mixing_collate import MixingCollate, check_alpha
from tltool.data.transforms.augmentation import Augmentation
from tltool.data.transforms.crop_mode import CropMode
from tltool.data.transforms.normalization import Preprocessing
from tltool.data.transforms.random_crop import CROP_AREA

__all__ = ["ImageDataModule", "SplitName"]

_warn = rank_zero_only(logging.getLogger(__name__).warning)

_NEEDED: dict[str, tuple[SplitName, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
}


class ImageDataModule(PreparedImages, LightningDataModule):
    """Base of the datamodules. A child says what there is: `find_classes` and `find_records`.

    Where no record validates, the training images are split by ``seed`` and ``val_fraction``, each
    class by the same fraction, or whole groups where the records have one. Where no record has a
    split, all are split, by `fractions`.

    A batch is a dict of ``images`` (B, C, H, W), ``labels`` (B,) where they are known, and
    ``paths``. Labels are ``(B, num_classes)`` of 0 and 1 where the objective is ``multi_label``,
    and floats where it is ``regression``. The last training batch may be smaller, but is never of
    one image, on which batch norm cannot train. Order and augmentation depend on the seed of
    ``seed_everything``, not on the number of workers or devices; a checkpoint keeps that seed, and
    a resumed run goes on with it. A training batch has a ``seed`` too, of what its step draws.

    Args:
        batch_size: Number of images in a step, over all devices: each takes its share. ``None`` is
            32, or of fewer training images the largest power of two that they fill.
        num_workers: Number of processes that decode, for each device; ``None`` takes one less than
            its share of the CPU cores, at most 8, and 0 decodes in the main process.
        value_range: The pixel values of black and of white, such as ``[0, 4095]`` for 12 bits in
            16-bit files: all images are scaled by it, and what lies outside is clipped. A range
            beyond 0..255 leaves 8-bit images as they are. ``None`` takes what the files can hold,
            0..255 or 0..65535, and stops where the images leave most of it unused. A checkpoint
            keeps it.
        preprocessing: What is subtracted from the pixels and what they are divided by: ``backbone``
            as in its own training, ``dataset`` mean and standard deviation of the training images,
            ``center`` their mean only, ``mean_image`` the mean image, ``none``. See
            `resolve_preprocessing`.
        crop_mode: What becomes of images whose shape is not that of the input: ``center`` cuts off
            what is beyond it, ``squash`` stretches the whole image, ``pad`` keeps its shape and
            pads with the mean color. ``None`` takes that of the backbone, mostly ``center``. See
            `resolve_crop_mode`. A checkpoint keeps it.
        augmentation: Random changes of the training images, from weak to strong, see
            `AUGMENTATIONS`. With ``none`` a frozen backbone sees an image always the same, so its
            features are computed only once. ``None`` is ``none``; `tltool fit` takes ``crop``
            instead where layers of the backbone train.
        crop_area: Least share of the area that a random crop keeps, in ``(0, 1]``. See
            `RandomCrop`, which follows ``crop_mode``.
        random_erasing: Probability of erasing a rectangle of a training image, see
            `ImageTransform`.
        mixup: How strongly two training images are blended, see `MixingCollate`; 0 for not at all.
        cutmix: How large a part of a training image another one fills, see `MixingCollate`; 0 for
            none.
        sampling: What an epoch draws: ``shuffled`` each training image once, ``class_balanced`` as
            many images, but of each class equally many; see `class_balanced_positions`.
        broken_files: ``stop`` with an error that names the file, or ``skip``: decode all files
            once, before the split, and leave the broken ones out.
        seed: Seed of the split.
        val_fraction: Share of the training images that validates, in ``(0, 1)``, where the data has
            no validation split.
        tuning_fraction: Share of the training images, in ``[0, 1)``, for a tuning split where the
            data has no test split: these choose the best epoch, and the validation images test, so
            that what is reported was not chosen on. 0 for none; ``None`` is 0, unless the
            strategy is ``Auto``. See `make_splits`.
        data_config: The backbone's own preprocessing, see `ImageTransform`. The command line fills
            it in.
        class_names: The classes in the order of the labels, such as those of a checkpoint; ``None``
            takes those of the data, sorted by name, numbers in it by value. Of a regression the one
            name of its target.
        objective: What the labels are: ``single_label`` one class for each image, ``multi_label``
            any number of classes, ``regression`` a number. The command line fills it in.
    """

    def __init_subclass__(cls) -> None:
        """Let ``inspect.signature``, and so ``help``, see the shared options of a child."""
        super().__init_subclass__()
        cls.__signature__ = whole_signature(cls.__init__, ImageDataModule.__init__)  # type: ignore[attr-defined]

    def __init__(
        self,
        *,
        batch_size: int | None = None,
        num_workers: int | None = None,
        value_range: list[float] | None = None,
        preprocessing: Preprocessing = "backbone",
        crop_mode: CropMode | None = None,
        augmentation: Augmentation | None = None,
        crop_area: float = CROP_AREA,
        random_erasing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        sampling: Sampling = "shuffled",
        broken_files: Literal["stop", "skip"] = "stop",
        seed: int = 0,
        val_fraction: float = 0.2,
        tuning_fraction: float | None = None,
        data_config: dict[str, Any] | None = None,
        class_names: list[Any] | None = None,
        objective: Objective = "single_label",
    ) -> None:
        super().__init__()
        kinds: dict[str, Objective] = {name: name for name in get_args(Objective)}
        self.objective = lookup(kinds, objective, kind="objective")
        self.batch_size = USUAL_BATCH_SIZE if batch_size is None else check_at_least_one(batch_size)
        self._has_usual_batch = batch_size is None
        self.num_workers = num_workers
        self.value_range = None if value_range is None else check_value_range(value_range)
        self.preprocessing: Preprocessing = preprocessing
        self.crop_mode: CropMode | None = crop_mode
        self.augmentation = augmentation
        self.crop_area = crop_area
        self.random_erasing = random_erasing
        check_alpha(mixup, name="mixup")
        check_alpha(cutmix, name="cutmix")
        self.mixup, self.cutmix = mixup, cutmix
        choices = {name: name for name in get_args(Sampling)}
        self.sampling = lookup(choices, sampling, kind="sampling")
        self.broken_files = broken_files
        self.seed = seed
        self.val_fraction = val_fraction
        self.tuning_fraction = check_tuning_fraction(tuning_fraction)
        self.data_config = data_config
        self.given_class_names = class_names and as_names(class_names)
        refuse_class_options(self)
        #: Positions of the images of each batch to predict; ``None`` predicts all.
        self.chosen_batches: Sequence[Sequence[int]] | None = None
        self._run_seed: int | None = None
        self.set_source(self.name, type(self).__name__)

    def __str__(self) -> str:
        """Name the data: Lightning's own text makes loaders, and fails where images are missing."""
        return f"{type(self).__name__}({self.place})"

    def __repr__(self) -> str:
        """Show what there is to learn from; where that cannot be told, say why."""
        try:
            images = self.summary().removeprefix("images: ")
        except (OSError, ValueError, ImportError, NotImplementedError) as error:
            images = f"no images: {error}"
        size = pixel_size((self.data_config or {}).get("input_size", ()))
        name = type(self).__name__
        place = "" if self.place == name else self.place
        parts = [place, images, size and f"{size} px", f"batch {self.batch_size}"]
        return f"{name}({one_line(', '.join(filter(None, parts)))})"

    def setup(self, stage: str) -> None:
        """Look the images up and check what this stage needs."""
        for split in _NEEDED.get(stage, ()):
            self.samples(split)
        if stage == "fit":
            self.check_values(self.value_survey)
            self._run_seed = None  # A checkpoint is read after this.
            self.settle_batch_size()
            self.labels_to_balance()

    def settle_batch_size(self) -> None:
        """Shrink the batch size, if none was given, to what the training images fill.

        Raises:
            ValueError: If one was given that they do not fill.
        """
        num_images = len(self.samples("train"))
        if self._has_usual_batch and num_images < self.batch_size:
            self.batch_size = fitting_batch_size(num_images)
            _warn(
                "The batch size is %d, not %d: there are %d training images.",
                *(self.batch_size, USUAL_BATCH_SIZE, num_images),
            )
        check_batch_size(self.batch_size, num_images)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed of order, augmentation and dropout, for a checkpoint."""
        return {} if self._run_seed is None else {"seed": self._run_seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the seed of a checkpoint."""
        self._run_seed = state_dict["seed"]

    def train_dataloader(self) -> TrainingLoader:
        """Return the loader of this device's training images, shuffled anew in each epoch."""
        dataset = self.dataset("train", augment=True)
        self.settle_batch_size()
        if self._run_seed is None:
            self._run_seed = common_seed(self.trainer)
        mixing = MixingCollate(self.num_classes, mixup=self.mixup, cutmix=self.cutmix)
        collate_fn = mixing if mixing.mixers else collate
        # `overfit_batches` is about the same images in each epoch.
        reshuffle = not (self.trainer and self.trainer.overfit_batches)  # type: ignore[attr-defined]  # set by a connector
        seed = self._run_seed
        order = {"seed": seed, "reshuffle": reshuffle, "labels": self.labels_to_balance()}
        loader = self._share.training(dataset, collate_fn, **order)
        return TrainingLoader(loader, lambda: batches_done(self.trainer))

    def val_dataloader(self) -> BatchLoader:
        """Return the loader of this device's validation images, in order."""
        return self._share.evaluation(self.dataset("val"))

    def test_dataloader(self) -> BatchLoader:
        """Return the loader of this device's test images, in order."""
        return self._share.evaluation(self.dataset("test"))

    def predict_dataloader(self) -> DataLoader[dict[str, Any]] | BatchLoader:
        """Return the loader of the images to predict, in order and without labels.

        Of `chosen_batches` alone, if there are any.
        """
        dataset, chosen = self.dataset("predict"), self.chosen_batches
        return self._share.whole(dataset) if chosen is None else self._share.of(dataset, chosen)

    def evaluation_dataloader(self, split: SplitName) -> DataLoader[dict[str, Any]]:
        """Return a loader of all images of any split, in order and not augmented."""
        return self._share.whole(self.dataset(split))

    @property
    def _share(self) -> DeviceShare:
        return device_share(self.trainer, batch_size=self.batch_size, num_workers=self.num_workers)
