"""Preprocessing of a datamodule: from the pixels of its images to tensors."""

import dataclasses
import functools
import logging
from collections.abc import Mapping
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_only

from tltool.data.datamodules.labeled_images import LabeledImages, SplitName
from tltool.data.loading.image_dataset import ImageDataset
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

_warn_once = functools.cache(rank_zero_only(logging.getLogger(__name__).warning))


class PreparedImages(LabeledImages):
    """How images become tensors: the part of `ImageDataModule` that needs no Trainer.

    `ImageDataModule` has the options, and sets them.
    """

    value_range: list[float] | None
    preprocessing: Preprocessing
    crop_mode: CropMode | None
    augmentation: Augmentation | None
    crop_area: float
    random_erasing: float
    mixup: float
    cutmix: float
    data_config: dict[str, Any] | None
    _pixel_statistics: PixelStatistics | None = None

    @property
    def is_random(self) -> bool:
        """Whether a training image may look different at two visits."""
        return self.transform(augment=True).is_random or self.mixup > 0 or self.cutmix > 0

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
