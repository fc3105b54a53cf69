"""Random changes of training images that leave the label as it is."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn
from torchvision.transforms import InterpolationMode, v2

Augmentation = Literal[
    "none", "flip", "flip_both", "crop", "color_jitter", "trivial_augment", "rand_augment"
]


@dataclass(frozen=True)
class AugmentationPreset:
    """What a name stands for.

    Attributes:
        summary: What it does, in a phrase.
        crops: Whether a random part of the image is taken, instead of the evaluation's crop.
        operations: Makes the operations on 8-bit pixels after the crop, from the color of the
            padding.
    """

    summary: str
    crops: bool = False
    operations: Callable[[list[int]], list[nn.Module]] = field(default=lambda fill: [])


CROP_AREA = (0.08, 1.0)
"""Share of the area that a random crop keeps (Szegedy et al., 2014,
https://arxiv.org/abs/1409.4842, section 6)."""


def _flip(fill: list[int]) -> list[nn.Module]:
    return [v2.RandomHorizontalFlip()]


AUGMENTATIONS: dict[str, AugmentationPreset] = {
    "none": AugmentationPreset("the image as in evaluation"),
    "flip": AugmentationPreset("mirrored left to right or not", operations=_flip),
    "flip_both": AugmentationPreset(
        "mirrored left to right or not, and upside down or not: where images have no up",
        operations=lambda fill: [*_flip(fill), v2.RandomVerticalFlip()],
    ),
    "crop": AugmentationPreset("a random part of the image, mirrored or not", True, _flip),
    "color_jitter": AugmentationPreset(
        "crop, and brightness, contrast and saturation changed by up to 40 %",
        True,
        lambda fill: [*_flip(fill), v2.ColorJitter(0.4, 0.4, 0.4)],
    ),
    "trivial_augment": AugmentationPreset(
        "crop, and one random operation of random strength (Mueller & Hutter, 2021, "
        "https://arxiv.org/abs/2103.10158)",
        True,
        lambda fill: [
            *_flip(fill),
            v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR, fill=fill),
        ],
    ),
    "rand_augment": AugmentationPreset(
        "crop, and two random operations of medium strength (Cubuk et al., 2019, "
        "https://arxiv.org/abs/1909.13719)",
        True,
        lambda fill: [
            *_flip(fill),
            v2.RandAugment(interpolation=InterpolationMode.BILINEAR, fill=fill),
        ],
    ),
}
"""The presets by name, from weak to strong. Measured on 244 and 600 images in 6 epochs, those with
a crop lower the test loss, and none changes the accuracy beyond noise; flips alone brought nothing
(`scripts/benchmark/augmentations.py`)."""


def random_crop(data_config: Mapping[str, Any]) -> v2.Compose:
    """Return a crop to a random part, resized to the input size, as 8-bit pixels."""
    crop = v2.RandomResizedCrop(
        list(data_config["input_size"][1:]),
        scale=CROP_AREA,
        interpolation=InterpolationMode(data_config["interpolation"]),
    )
    return v2.Compose([crop, v2.PILToTensor()])


def crop_decode_size(edge: int) -> int:
    """Return the shortest edge of an image whose smallest crop still has ``edge`` pixels.

    Example:
        >>> crop_decode_size(224)
        792
    """
    return math.ceil(edge / math.sqrt(CROP_AREA[0]))


def check_probability(value: float, *, name: str) -> None:
    """Raise unless a probability is in ``[0, 1]``.

    Example:
        >>> check_probability(25, name="random_erasing")
        Traceback (most recent call last):
        ...
        ValueError: `random_erasing` must be between 0 and 1, got 25. Set ...random_erasing 0.25.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be between 0 and 1, got {value}. Set --data.{name} 0.25.")
