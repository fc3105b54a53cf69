"""The handwritten digits that come with scikit-learn: small enough to try anything in seconds."""

import functools
import importlib
import importlib.util
from typing import Any

import numpy as np
from PIL import Image

from tltool.data.augmentation import Augmentation
from tltool.data.classes import check_class_names
from tltool.data.datamodule import ImageDataModule
from tltool.data.indexed import IndexedDecoder, number_photos
from tltool.data.layout import WHOLE
from tltool.data.preprocessing import Preprocessing
from tltool.data.samples import Splits
from tltool.data.split import check_fractions, split_stratified


class DigitsDataModule(ImageDataModule):
    """1,797 handwritten digits of 8 x 8 pixels (Alpaydin & Kaynak, 1998).

    They come with scikit-learn (https://doi.org/10.24432/C50P49, license CC BY 4.0).

    Args:
        test_fraction: Share of the digits that tests.

    Example:
        >>> print(DigitsDataModule().summary())
        photos: 1169 train, 359 val, 269 test, 10 classes (113 to 119 photos each)
    """

    def __init__(
        self,
        *,
        test_fraction: float = 0.15,
        batch_size: int = 32,
        num_workers: int | None = None,
        preprocessing: Preprocessing = "backbone",
        augmentation: Augmentation = "none",
        random_erasing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        seed: int = 0,
        val_fraction: float = 0.2,
        data_config: dict[str, Any] | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            num_workers=num_workers,
            preprocessing=preprocessing,
            augmentation=augmentation,
            random_erasing=random_erasing,
            mixup=mixup,
            cutmix=cutmix,
            seed=seed,
            val_fraction=val_fraction,
            data_config=data_config,
            class_names=class_names,
        )
        self.fractions = {"val": val_fraction, "test": test_fraction}
        check_fractions(self.fractions)
        self.name = "digits"

    @property
    def place(self) -> str:
        """The name of the data, for messages."""
        return "digits"

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`."""
        return [str(digit) for digit in range(10)]

    def find_splits(self) -> Splits:
        """See `ImageDataModule`."""
        found = self.find_classes()
        check_class_names(found, self.class_names, place=self.place, part=WHOLE)
        labels = [label for _, label in self._photos]
        samples = number_photos("digits", labels, found, self.class_names)
        split = split_stratified(samples.paths, labels, self.fractions, seed=self.seed)
        return Splits(**{part: samples.subset(indices) for part, indices in split.items()})

    @property
    def decoder(self) -> IndexedDecoder:
        """See `ImageDataModule`."""
        return IndexedDecoder({"digits": self._photos})

    @functools.cached_property
    def _photos(self) -> list[tuple[Image.Image, int]]:
        if importlib.util.find_spec("sklearn") is None:
            raise ModuleNotFoundError(
                "The digits come with scikit-learn, which is not installed. "
                "Type: pip install scikit-learn"
            )
        digits = importlib.import_module("sklearn.datasets").load_digits()
        pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)  # (N, H, W), from 0..16
        return [
            (Image.fromarray(image), int(label))
            for image, label in zip(pixels, digits.target, strict=True)
        ]
