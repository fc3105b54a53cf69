"""Geometry of timm's resize and crop for evaluation, on Pillow alone."""

import math
from collections.abc import Mapping
from typing import Any

from PIL import Image

MOST_PIXELS = 16
"""An image that is resized to more than this many times the pixels of the crop is not resized as a
whole."""


class CropGeometry:
    """Sizes of timm's resize and crop by crop mode, with a bound on the image in between.

    Args:
        data_config: See `ImageTransform`.
    """

    def __init__(self, data_config: Mapping[str, Any]) -> None:
        height, width = data_config["input_size"][1:]
        self.crop_size: tuple[int, int] = (height, width)
        self.crop_mode = data_config["crop_mode"]
        self.scale_size = [math.floor(edge / data_config["crop_pct"]) for edge in self.crop_size]
        self.resample = Image.Resampling[data_config["interpolation"].upper()]

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

    def window(self, image: Image.Image) -> Image.Image | None:
        """Return the center of an image whose whole would be resized to too many pixels.

        Returns:
            What the crop keeps of the resized image; ``None`` where the whole can be resized.
        """
        height, width = self.resized_size(image)
        if 0 < height * width <= MOST_PIXELS * self.scale_size[0] * self.scale_size[1]:
            return None
        height, width = max(height, 1), max(width, 1)
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
