"""Augmentation: presets of random changes of training images, by name."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from torch import nn
from torchvision.transforms import InterpolationMode, v2

Augmentation = Literal[
    "none", "flip", "flip_both", "crop", "color_jitter", "trivial_augment", "rand_augment"
]


class AugmentationPreset(NamedTuple):
    """What a name stands for.

    Attributes:
        crops: Whether a random part of the image is taken, instead of the evaluation's crop.
        operations: Makes the operations on 8-bit pixels after the crop, from the color of the
            padding.
    """

    crops: bool
    operations: Callable[[list[int]], list[nn.Module]]


CROP_AREA = 0.5
"""Least share of the area that a random crop keeps. From scratch it is 0.08 (Szegedy et al., 2014,
https://arxiv.org/abs/1409.4842, section 6), which takes many epochs."""
_BILINEAR = InterpolationMode.BILINEAR


def _flip(fill: list[int]) -> list[nn.Module]:
    return [v2.RandomHorizontalFlip()]


AUGMENTATIONS: dict[str, AugmentationPreset] = {
    # The image as in evaluation.
    "none": AugmentationPreset(False, lambda fill: []),
    # Mirrored left to right or not.
    "flip": AugmentationPreset(False, _flip),
    # Upside down or not, too: where images have no up.
    "flip_both": AugmentationPreset(False, lambda fill: [*_flip(fill), v2.RandomVerticalFlip()]),
    # A random part of the image, mirrored or not.
    "crop": AugmentationPreset(True, _flip),
    # Crop, and brightness, contrast and saturation changed by up to 40 %.
    "color_jitter": AugmentationPreset(
        True, lambda fill: [*_flip(fill), v2.ColorJitter(0.4, 0.4, 0.4)]
    ),
    # Crop, and one random operation of random strength (Mueller & Hutter, 2021,
    # https://arxiv.org/abs/2103.10158).
    "trivial_augment": AugmentationPreset(
        True, lambda fill: [*_flip(fill), v2.TrivialAugmentWide(interpolation=_BILINEAR, fill=fill)]
    ),
    # Crop, and two random operations of medium strength (Cubuk et al., 2019,
    # https://arxiv.org/abs/1909.13719).
    "rand_augment": AugmentationPreset(
        True, lambda fill: [*_flip(fill), v2.RandAugment(interpolation=_BILINEAR, fill=fill)]
    ),
}
"""The presets by name, from weak to strong. Measured on 244 and 600 images in 6 epochs, those with
a crop lower the test loss, and none changes the accuracy beyond noise; flips alone brought nothing
(`scripts/benchmark/transfer.py`)."""


def random_crop(data_config: Mapping[str, Any], area: float = CROP_AREA) -> v2.Compose:
    """Return a crop to a random part, resized to the input size, as 8-bit pixels.

    Args:
        data_config: With ``input_size`` and ``interpolation``.
        area: Least share of the area, in ``(0, 1]``; the largest is the whole image.
    """
    crop = v2.RandomResizedCrop(
        list(data_config["input_size"][1:]),
        scale=(area, 1.0),
        interpolation=InterpolationMode(data_config["interpolation"]),
    )
    return v2.Compose([crop, v2.PILToTensor()])


def crop_decode_size(edge: int, area: float = CROP_AREA) -> int:
    """Return the shortest edge of an image whose smallest crop still has ``edge`` pixels.

    Example:
        >>> crop_decode_size(224), crop_decode_size(224, area=0.08)
        (317, 792)
    """
    return math.ceil(edge / math.sqrt(area))
