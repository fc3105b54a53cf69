"""From pixels to the tensor that the backbone expects: geometry, augmentation, normalization."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from PIL import Image
from timm.data import transforms_factory
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2  # type: ignore[import-untyped]

from tltool.layers.lookup import lookup

Augmentation = Literal["none", "flip", "flip_both", "crop"]

_CROP_AREA = (0.08, 1.0)
_CONFIG_KEYS = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")


class ImageTransform:
    """Turn a decoded image into a normalized tensor.

    Without augmentation the result equals timm's own evaluation transform of the same
    configuration, to the last bit.

    Args:
        data_config: The preprocessing of the backbone, as ``timm.data.resolve_model_data_config``
            gives it: ``input_size`` as ``(C, H, W)``, ``interpolation``, ``mean``, ``std``,
            ``crop_pct``, ``crop_mode``.
        augmentation: ``none``; ``flip`` left to right; ``flip_both`` also upside down; ``crop`` to
            a random part of 8 % to 100 % of the area, resized, and flipped left to right (Szegedy
            et al., 2014, https://arxiv.org/abs/1409.4842).

    Attributes:
        mode: What `decode_image` should decode to: ``"RGB"`` or ``"L"``.
        decode_size: The shortest edge that the geometry needs, for `decode_image`.
        is_random: Whether two calls may differ.

    Shape:
        - Input: an image of any size
        - Output: ``(C, H, W)``, float

    Example:
        >>> config = {"input_size": (3, 32, 32), "interpolation": "bicubic", "mean": (0.5,) * 3,
        ...           "std": (0.5,) * 3, "crop_pct": 0.875, "crop_mode": "center"}
        >>> ImageTransform(config)(Image.new("RGB", (60, 40), "white"))[:, 0, 0]
        tensor([1., 1., 1.])
    """

    def __init__(
        self, data_config: Mapping[str, Any], *, augmentation: Augmentation = "none"
    ) -> None:
        config = check_data_config(data_config)
        channels, height, width = config["input_size"]
        self.mode: Literal["RGB", "L"] = "L" if channels == 1 else "RGB"
        self.is_random = augmentation != "none"
        crops = augmentation == "crop"
        edge = max(height, width)
        smallest_part = math.sqrt(_CROP_AREA[0]) if crops else config["crop_pct"]
        self.decode_size = math.ceil(edge / smallest_part)
        self.geometry = _random_crop(config) if crops else _evaluation_geometry(config)
        self.augment = v2.Compose(lookup(_flips(), augmentation, kind="augmentation"))
        self.mean = torch.tensor(config["mean"]).view(-1, 1, 1)  # (C, 1, 1)
        self.std = torch.tensor(config["std"]).view(-1, 1, 1)  # (C, 1, 1)

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the tensor of one image."""
        pixels: Tensor = self.augment(self.geometry(image))  # (C, H, W), uint8
        return pixels.to(torch.float32).div_(255).sub_(self.mean).div_(self.std)


def check_data_config(data_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration as a plain dict, after checking its keys and lengths.

    Raises:
        ValueError: If a key is missing, or the numbers of channels differ.

    Example:
        >>> check_data_config({"mean": (0.5,)})
        Traceback (most recent call last):
        ...
        ValueError: `data_config` lacks input_size, interpolation, std, crop_pct, crop_mode. ...
    """
    missing = [key for key in _CONFIG_KEYS if key not in data_config]
    if missing:
        raise ValueError(
            f"`data_config` lacks {', '.join(missing)}. "
            "Pass the whole configuration of the backbone: data_config=backbone.data_config."
        )
    channels = data_config["input_size"][0]
    if channels not in (1, 3):
        raise ValueError(
            f"`data_config` asks for images of {channels} channels; photos have 3, or 1 in "
            "grayscale. Set --model.backbone.in_chans to 3 or 1."
        )
    for key in ("mean", "std"):
        if len(data_config[key]) != channels:
            raise ValueError(
                f"`data_config` has {channels} channels in `input_size` but "
                f"{len(data_config[key])} values in `{key}`. Give one value for each channel."
            )
    return dict(data_config)


def unnormalize(images: Tensor, data_config: Mapping[str, Any]) -> Tensor:
    """Return normalized images as 8-bit pixels, to look at.

    Shape:
        - Input: ``(..., C, H, W)``, float
        - Output: ``(..., C, H, W)``, uint8

    Example:
        >>> config = {"mean": (0.5,), "std": (0.25,)}
        >>> unnormalize(torch.tensor([-2.0, 0.0, 2.0]).view(1, 1, 3), config)
        tensor([[[  0, 128, 255]]], dtype=torch.uint8)
    """
    mean = torch.tensor(data_config["mean"], device=images.device).view(-1, 1, 1)
    std = torch.tensor(data_config["std"], device=images.device).view(-1, 1, 1)
    return (images * std + mean).mul(255).round().clamp(0, 255).to(torch.uint8)


def _evaluation_geometry(config: Mapping[str, Any]) -> Any:
    return transforms_factory.create_transform(
        **{key: config[key] for key in _CONFIG_KEYS},
        is_training=False,
        normalize=False,  # the tensor stays uint8; normalization follows the augmentation
    )


def _random_crop(config: Mapping[str, Any]) -> v2.Compose:
    return v2.Compose(
        [
            v2.RandomResizedCrop(
                list(config["input_size"][1:]),
                scale=_CROP_AREA,
                interpolation=InterpolationMode(config["interpolation"]),
            ),
            v2.PILToTensor(),
        ]
    )


def _flips() -> dict[str, list[nn.Module]]:
    return {
        "none": [nn.Identity()],
        "flip": [v2.RandomHorizontalFlip()],
        "flip_both": [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()],
        "crop": [v2.RandomHorizontalFlip()],
    }
