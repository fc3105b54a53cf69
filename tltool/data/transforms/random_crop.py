"""Random crop: a random part of a training image in the place of the whole."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from tltool.data.transforms.crop_window import WindowedCrop

CROP_AREA = 0.5
"""Least share of the area that a random crop keeps. From scratch it is 0.08 (Szegedy et al., 2014,
https://arxiv.org/abs/1409.4842, section 6), which takes many epochs."""
_STRETCH = (3 / 4, 4 / 3)


class RandomCrop:
    """Cut out a random part of an image, and put it where evaluation puts the whole image.

    With the crop modes ``center`` and ``squash`` the part fills the input; with ``border`` it fills
    what is not padded, so that the padding is that of evaluation. The part has the shape of what
    it fills, with ``squash`` that of the image, so that it is stretched as the image is; up to 4/3
    wider or higher than that at random (Szegedy et al., 2014, https://arxiv.org/abs/1409.4842).

    Args:
        data_config: See `ImageTransform`.
        area: Least share of the area, in ``(0, 1]``; the largest is the whole image. Of an image
            too long for a part of this share the longest part is taken, anywhere in it.

    Shape:
        - Input: an image of any size
        - Output: ``(C, H, W)``, 8-bit pixels
    """

    def __init__(self, data_config: Mapping[str, Any], area: float = CROP_AREA) -> None:
        height, width = data_config["input_size"][1:]
        is_center = data_config["crop_mode"] == "center"
        #: Width by height of the parts; ``None`` for that of the image.
        self.shape: float | None = width / height if is_center else None
        mode = "squash" if is_center else data_config["crop_mode"]
        self.whole = WindowedCrop({**data_config, "crop_mode": mode, "crop_pct": 1.0})
        self.area = area

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the 8-bit pixels ``(C, H, W)`` of a random part."""
        top, left, height, width = self.window(image)
        part = image.crop((left, top, left + width, top + height))
        rows, columns = self.whole.resized_size(image)
        return self.whole.crop(part.resize((max(columns, 1), max(rows, 1)), self.whole.resample))

    def window(self, image: Image.Image) -> tuple[int, int, int, int]:
        """Return top, left, height and width of a random part of an image, in its pixels."""
        shape = self.shape or image.width / image.height
        shapes = [shape * stretch for stretch in _STRETCH]
        _, _, height, width = RandomResizedCrop.get_params(image, [self.area, 1.0], shapes)
        # A new place: where no part of this share fits, torchvision takes the middle.
        top, left = (
            int(torch.randint(free + 1, ()))
            for free in (image.height - height, image.width - width)
        )
        return top, left, height, width


def crop_decode_size(edge: int, area: float = CROP_AREA) -> int:
    """Return the shortest edge of an image whose smallest crop still has ``edge`` pixels.

    Example:
        >>> crop_decode_size(224), crop_decode_size(224, area=0.08)
        (317, 792)
    """
    return math.ceil(edge / math.sqrt(area))
