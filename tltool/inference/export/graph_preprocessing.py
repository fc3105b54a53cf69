"""Preprocessing in torch alone, for graphs: resize, crop or padding, and normalization."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tltool.data.transforms.normalization import shift_and_scale
from tltool.inference.export.pillow_resize import (
    FILTERS,
    goes_down_first,
    resize_weights,
    resized,
)


class Normalization(nn.Module):
    """From 8-bit images of the size of the crop to what a network expects.

    Args:
        data_config: See `ImageTransform`.

    Shape:
        - Input: ``(B, H, W, C)``, uint8
        - Output: ``(B, C, H, W)``, float
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, data_config: Mapping[str, Any]) -> None:
        super().__init__()
        shift, scale = shift_and_scale(data_config)
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def forward(self, images: Tensor) -> Tensor:
        """Return normalized images."""
        return self.normalized(images.permute(0, 3, 1, 2))

    def normalized(self, pixels: Tensor) -> Tensor:
        """Return pixels of 0 to 255, with the channels in front, normalized."""
        return (pixels.to(torch.float32) / 255 - self.shift) / self.scale


class GraphPreprocessing(Normalization):
    """From 8-bit images of any size to what a network expects: what `ImageTransform` gives.

    The pixels are Pillow's, to the last bit. No shape depends on values, so that exporters can
    record it for images of any size.

    Args:
        data_config: See `ImageTransform`.

    Raises:
        ValueError: If the interpolation is not in `FILTERS`, or ``crop_pct`` is above 1.

    Shape:
        - Input: ``(B, H, W, C)``, uint8
        - Output: ``(B, C, crop height, crop width)``, float

    Example:
        >>> config = {"input_size": (3, 32, 32), "interpolation": "bicubic", "mean": (0.5,) * 3,
        ...           "std": (0.5,) * 3, "crop_pct": 0.875, "crop_mode": "center"}
        >>> white = torch.full((2, 40, 60, 3), 255, dtype=torch.uint8)
        >>> GraphPreprocessing(config)(white)[:, 0, 0, 0]
        tensor([1., 1.])
    """

    scale_size: Tensor
    rows: Tensor
    columns: Tensor
    fill: Tensor

    def __init__(self, data_config: Mapping[str, Any]) -> None:
        super().__init__(data_config)
        self.interpolation, share = data_config["interpolation"], data_config["crop_pct"]
        if self.interpolation not in FILTERS or share > 1:
            raise ValueError(
                f"A graph cannot resize with `interpolation: {self.interpolation}` and `crop_pct: "
                f"{share}`. Set --resize runner: then the runner beside the file does it."
            )
        self.crop_mode = data_config["crop_mode"]
        _, height, width = data_config["input_size"]
        self.is_square = height == width
        numbers = {
            "scale_size": torch.tensor([math.floor(edge / share) for edge in (height, width)]),
            "rows": torch.arange(height),
            "columns": torch.arange(width),
            # The color that timm pads with.
            "fill": torch.tensor([round(255 * mean) for mean in data_config["mean"]]),
        }
        for name, value in numbers.items():
            self.register_buffer(name, value.double())
        self.fill = self.fill.view(-1, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return normalized images."""
        height, width = images.shape[1:3]
        edges = torch.cat([self.scale_size.new_full((1,), edge) for edge in (height, width)])
        size = self._resized_size(edges)
        rows, columns = _kept(self.rows, size[0]), _kept(self.columns, size[1])
        down = resize_weights(height, size[0], rows, self.interpolation)
        across = resize_weights(width, size[1], columns, self.interpolation)
        pixels = images.permute(0, 3, 1, 2).double()  # (B, C, H, W)
        pixels = resized(pixels, across, down, goes_down_first(edges, size))
        if self.crop_mode == "border":
            is_image = _is_inside(rows, size[0])[:, None] & _is_inside(columns, size[1])
            pixels = torch.where(is_image, pixels, self.fill)
        return self.normalized(pixels)

    def _resized_size(self, edges: Tensor) -> Tensor:
        """Return the height and width that timm resizes to, see `WindowedCrop.resized_size`."""
        if self.crop_mode == "squash":
            return self.scale_size
        if self.crop_mode == "center" and self.is_square:  # By torchvision, which rounds down.
            return torch.floor(self.scale_size * edges / edges.min())
        ratios = edges / self.scale_size
        ratio = ratios.max() if self.crop_mode == "border" else ratios.min()
        return torch.round(edges / ratio)


def _kept(indices: Tensor, size: Tensor) -> Tensor:
    """Return which pixels of a resized edge are kept, or padded where they lie outside."""
    beyond = size - len(indices)
    cut = torch.round(beyond.clamp(min=0) / 2)
    padding = torch.ceil(beyond.clamp(max=0) / 2)
    return indices + cut + padding


def _is_inside(indices: Tensor, size: Tensor) -> Tensor:
    return (indices >= 0) & (indices < size)
