"""Timm's resize and crop for evaluation, by crop mode; of very long images only what is cropped.

Resized until its short edge fits, a strip of 1 x 20,000 pixels would have a billion of them.
"""

import math
from collections.abc import Mapping
from typing import Any

from PIL import Image
from timm.data import transforms_factory
from torch import Tensor

MOST_PIXELS = 16
"""An image that is resized to more than this many times the pixels of the crop is not resized as a
whole."""
CONFIG_KEYS = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
"""What timm makes a transform of."""


class WindowedCrop:
    """Timm's resize and crop for evaluation, with a bound on the image in between.

    Below the bound the result is timm's own. Above it, it differs by rounding alone.

    Args:
        data_config: See `ImageTransform`.

    Example:
        >>> config = {"input_size": (3, 8, 8), "interpolation": "bicubic", "crop_pct": 1.0,
        ...           "crop_mode": "center", "mean": (0.5,) * 3, "std": (0.5,) * 3}
        >>> WindowedCrop(config)(Image.new("RGB", (1, 20000))).shape
        torch.Size([3, 8, 8])
    """

    def __init__(self, data_config: Mapping[str, Any]) -> None:
        settings = {key: data_config[key] for key in CONFIG_KEYS}
        # The tensor stays uint8, for augmentation comes before the normalization.
        self.geometry: Any = transforms_factory.create_transform(
            **settings, is_training=False, normalize=False
        )
        self.crop_size: tuple[int, int] = tuple(data_config["input_size"][1:])
        self.crop_mode = data_config["crop_mode"]
        self.scale_size = [math.floor(edge / data_config["crop_pct"]) for edge in self.crop_size]
        self.resample = Image.Resampling[data_config["interpolation"].upper()]

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the 8-bit pixels ``(C, H, W)`` of the crop."""
        height, width = self.resized_size(image)
        if self._is_bounded(height, width):
            pixels: Tensor = self.geometry(image)
            return pixels
        return self.crop(self._window(image, max(height, 1), max(width, 1)))

    def crop(self, resized: Any) -> Tensor:
        """Return the 8-bit pixels of an image that is resized already: cropped, or padded."""
        for step in self.geometry.transforms[1:]:  # All but the resize.
            resized = step(resized)
        pixels: Tensor = resized
        return pixels

    def resized_size(self, image: Image.Image) -> tuple[int, int]:
        """Return the height and width that timm resizes an image to."""
        if self.crop_mode == "squash":
            return self.scale_size[0], self.scale_size[1]
        edges = (image.height, image.width)
        ratios = [edge / target for edge, target in zip(edges, self.scale_size, strict=True)]
        if self.crop_mode == "border":
            return round(edges[0] / max(ratios)), round(edges[1] / max(ratios))
        if self.crop_size[0] == self.crop_size[1]:  # By torchvision, which rounds down.
            scaled = [self.scale_size[0] * edge // min(edges) for edge in edges]
            return scaled[0], scaled[1]
        return round(edges[0] / min(ratios)), round(edges[1] / min(ratios))

    def _is_bounded(self, height: int, width: int) -> bool:
        most = MOST_PIXELS * self.scale_size[0] * self.scale_size[1]
        return bool(0 < height * width <= most)

    def _window(self, image: Image.Image, height: int, width: int) -> Any:
        """Return the center of an image resized to a height and a width."""
        rows, columns = min(height, self.crop_size[0]), min(width, self.crop_size[1])
        top, left = round((height - rows) / 2), round((width - columns) / 2)
        down, right = image.height / height, image.width / width  # Source pixels for one.
        box = (
            left * right,
            top * down,
            min((left + columns) * right, image.width),
            min((top + rows) * down, image.height),
        )
        return image.resize((columns, rows), self.resample, box)
