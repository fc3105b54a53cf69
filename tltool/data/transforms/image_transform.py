"""Image transform: from a decoded image to the tensor that the backbone expects."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from tltool._lookup import lookup
from tltool._own_code import own_code, plain_attributes
from tltool.data.transforms.augmentation import AUGMENTATIONS, Augmentation
from tltool.data.transforms.crop_window import CONFIG_KEYS, WindowedCrop
from tltool.data.transforms.normalization import shift_and_scale
from tltool.data.transforms.random_crop import CROP_AREA, RandomCrop, crop_decode_size

_RESOLVED_KEYS = ("mean_image", "value_range")


class ImageTransform:
    """Turn a decoded image into a normalized tensor.

    Without augmentation the result equals timm's own evaluation transform of the same
    configuration, to the last bit; for very long images see `WindowedCrop`.

    Args:
        data_config: The preprocessing of the backbone, as ``timm.data.resolve_model_data_config``
            gives it: ``input_size`` as ``(C, H, W)``, ``interpolation``, ``mean``, ``std``,
            ``crop_pct``, ``crop_mode``; or that of a checkpoint, see `resolve_preprocessing`. With
            ``value_range``, for `decode_image`, if there is one.
        augmentation: Name of a preset, see `AUGMENTATIONS`.
        crop_area: Least share of the area that a random crop keeps, in ``(0, 1]``, for the presets
            with a crop.
        random_erasing: Probability of filling a rectangle of 2 % to 33 % of the area with zeros,
            which after the normalization is the mean (Zhong et al., 2017,
            https://arxiv.org/abs/1708.04896). Measured on 244 and 600 images in 6 epochs it changed
            the accuracy by less than the noise (`scripts/benchmark/README.md`, "Augmentation").

    Attributes:
        mode: What `decode_image` should decode to: ``"RGB"`` or ``"L"``.
        decode_size: The shortest edge that the geometry needs, for `decode_image`.
        value_range: The pixel values of black and of white, for `decode_image`; ``None`` for those
            of the file's type.
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
        self,
        data_config: Mapping[str, Any],
        *,
        augmentation: Augmentation = "none",
        crop_area: float = CROP_AREA,
        random_erasing: float = 0.0,
    ) -> None:
        config = check_data_config(data_config)
        if not 0 <= random_erasing <= 1:
            raise ValueError(
                f"`random_erasing` must be between 0 and 1, got {random_erasing}. "
                "Set --data.random_erasing 0.25."
            )
        if not 0 < crop_area <= 1:
            raise ValueError(
                f"`crop_area` must be in (0, 1], got {crop_area}. Set --data.crop_area 0.5."
            )
        preset = lookup(AUGMENTATIONS, augmentation, kind="augmentation")
        channels, *edges = config["input_size"]
        self.mode: Literal["RGB", "L"] = "L" if channels == 1 else "RGB"
        self.value_range: list[float] | None = config.get("value_range")
        self.is_random = augmentation != "none" or random_erasing > 0
        if preset.crops:
            self.geometry: RandomCrop | WindowedCrop = RandomCrop(config, crop_area)
            self.decode_size = crop_decode_size(max(edges), crop_area)
        else:
            self.decode_size = math.ceil(max(edges) / config["crop_pct"])
            self.geometry = WindowedCrop(config)
        self.operations = preset.operations([round(255 * value) for value in config["mean"]])
        self.erase = v2.RandomErasing(random_erasing)
        self._description = {
            "class": f"{type(self).__module__}.{type(self).__qualname__}",
            **{key: config[key] for key in (*CONFIG_KEYS, *_RESOLVED_KEYS) if key in config},
            "augmentation": augmentation,
            **({"crop_area": crop_area} if preset.crops else {}),
            "random_erasing": random_erasing,
        }
        self.shift, self.scale = shift_and_scale(config)

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the normalized tensor of one image."""
        pixels = self.pixels(image).to(torch.float32).div_(255)
        erased: Tensor = self.erase(pixels.sub_(self.shift).div_(self.scale))
        return erased

    @property
    def decode_options(self) -> dict[str, Any]:
        """What `decode_image` is to be told."""
        return {
            "mode": self.mode,
            "size": self.decode_size,
            "value_range": self.value_range,
        }

    def describe(self) -> dict[str, Any]:
        """Return all that decides the tensor of a decoded image, as plain data.

        Of a class of your own its code and its plain attributes are among it.
        """
        code = own_code(type(self))
        own = {} if code is None else {"code": code, "attributes": plain_attributes(self)}
        return {**self._description, **own}

    def pixels(self, image: Image.Image) -> Tensor:
        """Return the 8-bit pixels ``(C, H, W)`` before the normalization."""
        pixels = self.geometry(image)
        for operation in self.operations:
            pixels = operation(pixels)
        return pixels


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
    missing = [key for key in CONFIG_KEYS if key not in data_config]
    if missing:
        raise ValueError(
            f"`data_config` lacks {', '.join(missing)}. "
            "Pass the whole configuration of the backbone: data_config=backbone.data_config."
        )
    channels, mean, std = data_config["input_size"][0], data_config["mean"], data_config["std"]
    if channels not in (1, 3) or not len(mean) == len(std) == channels:
        raise ValueError(
            f"`data_config` has {channels} channels in `input_size`, {len(mean)} values in `mean` "
            f"and {len(std)} in `std`. Give as many, and set --model.backbone.in_chans to 3 or 1."
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
    shift, scale = shift_and_scale(data_config)
    pixels = images * scale.to(images.device) + shift.to(images.device)
    return pixels.mul(255).round().clamp(0, 255).to(torch.uint8)
