"""Augmentation: presets of random changes of training images, by name."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import nn
from torchvision.transforms import InterpolationMode, v2

from tltool.data.transforms.random_crop import CROP_AREA

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
"""The presets by name, from weak to strong. On five sets none is better than ``crop`` beyond noise
on average. Beside ``flip`` it gains .05 on brain MRI and .04 on solar cells, and loses .03 on
digits, of which a crop is another sign (`scripts/benchmark/README.md`, "Augmentation")."""


def crop_area_warnings(augmentation: Augmentation | None, crop_area: float) -> list[str]:
    """Return a warning where a share of the area is given, and nothing takes a random part.

    Args:
        augmentation: A name of `AUGMENTATIONS`; ``None`` is none.
        crop_area: See `RandomCrop`.

    Example:
        >>> crop_area_warnings("crop", 0.3)
        []
        >>> len(crop_area_warnings("flip", 0.3))
        1
    """
    name = augmentation or "none"
    if crop_area == CROP_AREA or AUGMENTATIONS[name].crops:
        return []
    return [
        f"`crop_area: {crop_area:g}` changes nothing: {name} takes no random crops. Set "
        "--data.augmentation crop."
    ]
