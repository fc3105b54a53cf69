"""Datamodule of the handwritten digits in scikit-learn: to try anything in seconds."""

import functools
import importlib
import importlib.util
from typing import ClassVar

import numpy as np
from PIL import Image

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.records import ImageRecord, number_records
from tltool.data.datamodules.shared_options import SharedOptions, Unpack
from tltool.data.loading.in_memory import InMemoryDecoder


class DigitsDataModule(ImageDataModule):
    """1,797 handwritten digits of 8 x 8 pixels (Alpaydin & Kaynak, 1998).

    They come with scikit-learn (https://doi.org/10.24432/C50P49, license CC BY 4.0).

    Args:
        test_fraction: Share of the digits that tests.

    Example:
        >>> print(DigitsDataModule().summary())
        images: 1169 train, 359 val, 269 test, 10 classes (113 to 119 images each)
    """

    objectives: ClassVar = ("single_label",)

    def __init__(self, *, test_fraction: float = 0.15, **options: Unpack[SharedOptions]) -> None:
        super().__init__(broken_files="stop", **options)  # There are none.
        self.set_source("digits", "digits", test_fraction=test_fraction)

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`."""
        return [str(digit) for digit in range(10)]

    def find_records(self) -> list[ImageRecord]:
        """See `ImageDataModule`."""
        return number_records("digits", [str(label) for _, label in self._images])

    @property
    def decoder(self) -> InMemoryDecoder:
        """See `ImageDataModule`."""
        return InMemoryDecoder({"digits": self._images})

    @functools.cached_property
    def _images(self) -> list[tuple[Image.Image, int]]:
        if importlib.util.find_spec("sklearn") is None:
            raise ModuleNotFoundError(
                "The digits come with scikit-learn, which is not installed. "
                "Type: pip install 'tltool[digits]'"
            )
        digits = importlib.import_module("sklearn.datasets").load_digits()
        pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)  # (N, H, W), from 0..16
        return [
            (Image.fromarray(image), int(label))
            for image, label in zip(pixels, digits.target, strict=True)
        ]
