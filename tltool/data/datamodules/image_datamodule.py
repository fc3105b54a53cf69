"""Base class of the datamodules: options, checks, splits and loaders of images."""

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from tltool.data.datamodules.record_splits import make_splits
from tltool.data.datamodules.records import ImageRecord, check_filled
from tltool.data.datamodules.shared_options import whole_signature
from tltool.data.datamodules.stratified_split import check_fractions, check_tuning_fraction
from tltool.data.datamodules.yaml_names import as_names
from tltool.data.files.decoding import decode_image, is_readable
from tltool.data.files.decoding_threads import map_in_threads
from tltool.data.files.natural_order import look_alikes
from tltool.data.files.value_range import check_value_range
from tltool.data.loading.batch_loader import BatchLoader, TrainingLoader
from tltool.data.loading.batch_size import check_batch_size
from tltool.data.loading.device_share import DeviceShare, batches_done, common_seed, device_share
from tltool.data.loading.image_dataset import Decoder, ImageDataset, collate
from tltool.data.loading.mixing_collate import MixingCollate, check_alpha
from tltool.data.loading.samples import Samples, Splits
from tltool.data.loading.value_survey import ValueSurvey, find_value_problem, survey_values
from tltool.data.transforms.augmentation import Augmentation
from tltool.data.transforms.crop_mode import CropMode, resolve_crop_mode
from tltool.data.transforms.image_transform import ImageTransform
from tltool.data.transforms.normalization import (
    PixelStatistics,
    Preprocessing,
    resolve_preprocessing,
    resolve_value_range,
)
from tltool.data.transforms.random_crop import CROP_AREA

log = logging.getLogger(__name__)
_warn = rank_zero_only(log.warning)
_warn_once = functools.cache(_warn)

SplitName = Literal["train", "val", "test"]

_NEEDED: dict[str, tuple[SplitName, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
}
_PURPOSES = {"train": "training", "val": "validation", "test": "testing"}


class ImageDataModule(LightningDataModule):
    """Base of the datamodules. A child says what there is: `find_classes` and `find_records`.

    Where no record validates, the training images are split by ``seed`` and ``val_fraction``, each
    class by the same fraction, or whole groups where the records have one. Where no record has a
    split, all are split, by `fractions`.

    A batch is a dict of ``images`` (B, C, H, W), ``labels`` (B,) where they are known, and
    ``paths``. The last training batch may be smaller, but is never of one image, on which batch
    norm cannot train. Order and augmentation depend on the seed of ``seed_everything``, not on the
    number of workers or devices; a checkpoint keeps that seed, and a resumed run goes on with it. A
    training batch has a ``seed`` too, of what its step draws.

    Args:
        batch_size: Number of images in a step, over all devices: each takes its share.
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
            features are computed only once. ``None`` is ``none``, unless the strategy ``Auto``
            trains layers of the backbone, and then ``crop``.
        crop_area: Least share of the area that a random crop keeps, in ``(0, 1]``. See
            `RandomCrop`, which follows ``crop_mode``.
        random_erasing: Probability of erasing a rectangle of a training image, see
            `ImageTransform`.
        mixup: How strongly two training images are blended, see `MixingCollate`; 0 for not at all.
        cutmix: How large a part of a training image another one fills, see `MixingCollate`; 0 for
            none.
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
            takes those of the data, sorted by name, numbers in it by value.
    """

    remedies: ClassVar[Mapping[str, str]] = {}
    """What to do where a split is missing: a sentence for each, for an error."""

    def __init_subclass__(cls) -> None:
        """Let ``inspect.signature``, and so ``help``, see the shared options of a child."""
        super().__init_subclass__()
        cls.__signature__ = whole_signature(cls.__init__, ImageDataModule.__init__)  # type: ignore[attr-defined]

    def __init__(
        self,
        *,
        batch_size: int = 32,
        num_workers: int | None = None,
        value_range: list[float] | None = None,
        preprocessing: Preprocessing = "backbone",
        crop_mode: CropMode | None = None,
        augmentation: Augmentation | None = None,
        crop_area: float = CROP_AREA,
        random_erasing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        broken_files: Literal["stop", "skip"] = "stop",
        seed: int = 0,
        val_fraction: float = 0.2,
        tuning_fraction: float | None = None,
        data_config: dict[str, Any] | None = None,
        class_names: list[Any] | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
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
        self.broken_files = broken_files
        self.seed = seed
        self.val_fraction = val_fraction
        self.tuning_fraction = check_tuning_fraction(tuning_fraction)
        self.data_config = data_config
        self.given_class_names = class_names and as_names(class_names)
        #: Positions of the images of each batch to predict; ``None`` predicts all.
        self.chosen_batches: Sequence[Sequence[int]] | None = None
        self._pixel_statistics: PixelStatistics | None = None
        self._run_seed: int | None = None
        self.set_source(self.name, type(self).__name__)

    def set_source(self, name: str | None, place: str, *, test_fraction: float = 0.0) -> None:
        """Set the name of the data, where they lie, and how they are split.

        Args:
            name: For the run directory.
            place: For messages.
            test_fraction: Share of the images that tests where the data have no splits, or 0.
        """
        self.name = name
        self.place = place
        tests = {"test": test_fraction} if test_fraction else {}
        self.fractions = {"val": self.val_fraction} | tests
        check_fractions(self.fractions)

    def __str__(self) -> str:
        """Name the data: Lightning's own text makes loaders, and fails where images are missing."""
        return f"{type(self).__name__}({self.place})"

    def find_classes(self) -> list[str]:
        """Return the names of the classes of the data, in the order of the labels."""
        raise NotImplementedError(f"{type(self).__name__} must define `find_classes()`.")

    def find_records(self) -> list[ImageRecord]:
        """Return the record of each image."""
        raise NotImplementedError(f"{type(self).__name__} must define `find_records()`.")

    def find_splits(self) -> Splits:
        """Return the images of each split, labels as indices into `class_names`."""
        self.check_labels()
        records, found = self.readable_records(), self._found_classes
        splits = make_splits(
            records,
            found,
            self.class_names,
            self.fractions,
            place=self.place,
            seed=self.seed,
            tuning=self.tuning_fraction or 0.0,
        )
        for split, missing in splits.missing_classes(self.class_names).items():
            _warn("The %s images in %s have none of: %s.", split, self.place, missing)
        for names in look_alikes(self.class_names):
            _warn("Names in %s that may be one class, or mean two: %s.", self.place, names)
        return splits

    def check_labels(self) -> None:
        """Raise if an image has no label."""
        names = [record.name for record in self.records]
        check_filled([record.label for record in self.records], names, "label", place=self.place)

    def readable_records(self) -> list[ImageRecord]:
        """Return the records whose images can be decoded, or all if broken files stop the run."""
        kept = set(self.without_broken([record.path for record in self.records]))
        return [record for record in self.records if record.path in kept]

    def find_unlabeled(self) -> Samples:
        """Return the images to predict."""
        return Samples(list(self.splits.by_name().values())[-1].paths)

    @functools.cached_property
    def unlabeled(self) -> Samples:
        """The images to predict, looked up once: what is added meanwhile would move the others."""
        return self.find_unlabeled()

    def known_labels(self) -> dict[str, str]:
        """Return the class name of each image, by path, where the data says it."""
        return self.splits.known_labels(self.class_names)

    @property
    def decoder(self) -> Decoder:
        """What turns a path into an image."""
        return decode_image

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the labels."""
        return list(self.given_class_names or self._found_classes)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def train_class_counts(self) -> list[int]:
        """The number of training images of each class."""
        return self.samples("train").class_counts(self.num_classes)

    @property
    def is_random(self) -> bool:
        """Whether a training image may look different at two visits."""
        return self.transform(augment=True).is_random or self.mixup > 0 or self.cutmix > 0

    @functools.cached_property
    def splits(self) -> Splits:
        """The images of each split, looked up once."""
        return self.find_splits()

    @functools.cached_property
    def records(self) -> list[ImageRecord]:
        """The record of each image, looked up once."""
        return self.find_records()

    @functools.cached_property
    def _found_classes(self) -> list[str]:
        return self.find_classes()

    def samples(self, split: SplitName) -> Samples:
        """Return the images of one split, or raise an error that says where to put them."""
        samples = self.splits.by_name().get(split)
        if not samples:
            remedy = self.remedies.get(split, "Choose data that has it.")
            raise ValueError(f"{self.place} has no images for {_PURPOSES[split]}. {remedy}")
        return samples

    def without_broken(self, paths: list[str]) -> list[str]:
        """Return the paths that can be decoded, or all if broken files are to stop the run."""
        if self.broken_files == "stop":
            return paths
        what, show = "Looking for broken images", self._is_rank_zero
        results = map_in_threads(is_readable, paths, description=what, show_progress=show)
        readable = dict(zip(paths, results, strict=True))
        broken = [path for path in paths if not readable[path]]
        if broken:
            message = "Left out %d of %d images that cannot be read: %s%s."
            more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
            _warn(message, len(broken), len(paths), ", ".join(broken[:3]), more)
        return [path for path in paths if readable[path]]

    def summary(self) -> str:
        """Return one line on the images of each split and class, see `Splits.describe`."""
        return self.splits.describe(self.class_names)

    def setup(self, stage: str) -> None:
        """Look the images up and check what this stage needs."""
        for split in _NEEDED.get(stage, ()):
            self.samples(split)
        if stage == "fit":
            self.check_values(self.value_survey)
            self._run_seed = None  # A checkpoint is read after this.
            check_batch_size(self.batch_size, len(self.samples("train")))

    def state_dict(self) -> dict[str, Any]:
        """Return the seed of order, augmentation and dropout, for a checkpoint."""
        return {} if self._run_seed is None else {"seed": self._run_seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the seed of a checkpoint."""
        self._run_seed = state_dict["seed"]

    def resolved_data_config(self) -> dict[str, Any]:
        """Return the preprocessing in numbers, as plain data for a checkpoint.

        The statistics of the training images are computed at the first call and kept.
        """
        if self.data_config is None:
            raise ValueError(
                "The preprocessing is not known: `data_config` is None. Pass that of the backbone: "
                f"{type(self).__name__}(..., data_config=backbone.data_config)."
            )
        config = resolve_value_range(self.data_config, self.value_range)
        config = resolve_crop_mode(config, self.crop_mode)
        return resolve_preprocessing(config, self.preprocessing, lambda: self._measure(config))

    @functools.cached_property
    def value_survey(self) -> ValueSurvey:
        """The pixel values of some images of all splits, looked at once."""
        paths = [path for samples in self.splits.by_name().values() for path in samples.paths]
        return survey_values(paths, self.decoder)

    @property
    def known_value_range(self) -> list[float] | None:
        """The range of pixel values that was chosen, here or in the training of a checkpoint."""
        return self.value_range or (self.data_config or {}).get("value_range")

    def check_values(self, survey: ValueSurvey) -> None:
        """Raise if the values of images need a ``value_range``, or warn if a model is trained."""
        known_range = self.known_value_range
        problem = find_value_problem(survey, known_range, place=self.place)
        if problem and "preprocessing" not in (self.data_config or {}):
            raise ValueError(problem)
        # A model that knows images of more bits may see 8-bit ones too.
        if problem and (survey.num_deep or known_range is None):
            _warn_once(problem)

    def _measure(self, config: Mapping[str, Any]) -> PixelStatistics:
        """Return the statistics of the training images, of which padding is no part."""
        if self._pixel_statistics is None:
            self.check_values(self.value_survey)
            is_padded = config["crop_mode"] == "border"
            found = self._measure_as({**config, "crop_mode": "squash"} if is_padded else config)
            if is_padded and self.preprocessing == "mean_image":  # Of padded images, by that mean.
                padded = self._measure_as({**config, "mean": found.mean})
                found = dataclasses.replace(found, mean_image=padded.mean_image)
            self._pixel_statistics = found
        return self._pixel_statistics

    def _measure_as(self, config: Mapping[str, Any]) -> PixelStatistics:
        dataset = ImageDataset(self.samples("train"), ImageTransform(config), decode=self.decoder)
        return dataset.pixel_statistics(show_progress=self._is_rank_zero)

    def transform(self, *, augment: bool = False) -> ImageTransform:
        """Return the transform from image to tensor."""
        return ImageTransform(
            self.resolved_data_config(),
            augmentation=(augment and self.augmentation) or "none",
            crop_area=self.crop_area,
            random_erasing=self.random_erasing if augment else 0.0,
        )

    def dataset(
        self, split: SplitName | Literal["predict"], *, augment: bool = False
    ) -> ImageDataset:
        """Return the images of one split as a dataset, augmented or as in evaluation."""
        samples = self.unlabeled if split == "predict" else self.samples(split)
        is_unlabeled = split == "predict"
        self.check_values(
            survey_values(samples.paths, self.decoder) if is_unlabeled else self.value_survey
        )
        return ImageDataset(samples, self.transform(augment=augment), decode=self.decoder)

    def train_dataloader(self) -> TrainingLoader:
        """Return the loader of this device's training images, shuffled anew in each epoch."""
        dataset = self.dataset("train", augment=True)
        check_batch_size(self.batch_size, len(dataset))
        if self._run_seed is None:
            self._run_seed = common_seed(self.trainer)
        mixing = MixingCollate(self.num_classes, mixup=self.mixup, cutmix=self.cutmix)
        collate_fn = mixing if mixing.mixers else collate
        # `overfit_batches` is about the same images in each epoch.
        reshuffle = not (self.trainer and self.trainer.overfit_batches)  # type: ignore[attr-defined]  # set by a connector
        seed = self._run_seed
        loader = self._share.training(dataset, collate_fn, seed=seed, reshuffle=reshuffle)
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

    @property
    def _is_rank_zero(self) -> bool:
        return getattr(rank_zero_only, "rank", 0) == 0
