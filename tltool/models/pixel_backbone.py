"""`backbone: pixels`: the pixels themselves as features, so that heads work on raw images."""

import math
from typing import Any

from timm.models import register_model
from torch import Tensor, nn

NAME = "pixels"
_PREPROCESSING: dict[str, Any] = {
    "num_classes": 0,
    "input_size": (3, 32, 32),
    "pool_size": None,
    "crop_pct": 1.0,
    "interpolation": "bilinear",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "first_conv": None,
    "classifier": None,
}


class Pixels(nn.Module):
    """An image resized and flattened: the features of a network that is none.

    What a head reaches on them is what it reaches without pretraining. It has nothing to load and
    nothing to train, and `img_size` says how many pixels there are.

    Args:
        num_classes: Must be 0: pixels have no classifier.
        in_chans: Number of image channels.
        img_size: Height and width in pixels, or one number for both.

    Shape:
        - Input: ``(B, in_chans, H, W)``
        - Output: ``(B, in_chans * H * W)``, channel by channel

    Raises:
        ValueError: If it is asked for a classifier.
    """

    def __init__(
        self, num_classes: int = 0, in_chans: int = 3, img_size: int | tuple[int, int] = 32
    ) -> None:
        super().__init__()
        if num_classes:
            raise ValueError(f"Pixels have no classifier, got num_classes={num_classes}. Set 0.")
        size = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.num_features = in_chans * math.prod(size)
        self.pretrained_cfg = {**_PREPROCESSING, "input_size": (in_chans, *size)}

    def forward(self, images: Tensor) -> Tensor:
        """Return images ``(B, C, H, W)`` as ``(B, C * H * W)``."""
        return images.flatten(1)


@register_model
def pixels(pretrained: bool = False, **kwargs: Any) -> Pixels:
    """Return the model, as timm's ``create_model`` calls it."""
    known = {key: kwargs[key] for key in ("num_classes", "in_chans", "img_size") if key in kwargs}
    return Pixels(**known)
