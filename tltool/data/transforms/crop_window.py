"""Timm's resize and crop for evaluation, by crop mode; of very long images only what is cropped.

Resized until its short edge fits, a strip of 1 x 20,000 pixels would have a billion of them.
"""

from collections.abc import Mapping
from typing import Any

from PIL import Image
from timm.data import transforms_factory
from torch import Tensor

from tltool.data.transforms.crop_geometry import CropGeometry

CONFIG_KEYS = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
"""What timm makes a transform of."""


class WindowedCrop(CropGeometry):
    """Timm's resize and crop for evaluation, with a bound on the image in between.

    Below the bound the result is timm's own. Above it, it differs by rounding; of images that are
    enlarged by more, for Pillow may resample the other edge first, and cuts off values beyond 0 and
    255 in between: by up to 18 on noise of 20 x 370 pixels, bicubic, to 67.

    Args:
        data_config: See `ImageTransform`.

    Example:
        >>> config = {"input_size": (3, 8, 8), "interpolation": "bicubic", "crop_pct": 1.0,
        ...           "crop_mode": "center", "mean": (0.5,) * 3, "std": (0.5,) * 3}
        >>> WindowedCrop(config)(Image.new("RGB", (1, 20000))).shape
        torch.Size([3, 8, 8])
    """

    def __init__(self, data_config: Mapping[str, Any]) -> None:
        super().__init__(data_config)
        settings = {key: data_config[key] for key in CONFIG_KEYS}
        # The tensor stays uint8, for augmentation comes before the normalization.
        self.geometry: Any = transforms_factory.create_transform(
            **settings, is_training=False, normalize=False
        )

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the 8-bit pixels ``(C, H, W)`` of the crop."""
        window = self.window(image)
        if window is None:
            pixels: Tensor = self.geometry(image)
            return pixels
        return self.crop(window)

    def crop(self, resized: Any) -> Tensor:
        """Return the 8-bit pixels of an image that is resized already: cropped, or padded."""
        for step in self.geometry.transforms[1:]:  # All but the resize.
            resized = step(resized)
        pixels: Tensor = resized
        return pixels
