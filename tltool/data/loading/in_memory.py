"""Decoder of images in memory or behind another library, which have a number, not a file."""

from collections.abc import Mapping
from typing import Any, Literal

from PIL import Image


class InMemoryDecoder:
    """Turn names such as ``CIFAR10/train/000123`` into images, as `decode_image` does with paths.

    Args:
        sources: What gives a pair of image and label by number, by the name in front of the number.

    Example:
        >>> decode = InMemoryDecoder({"dots": [(Image.new("L", (2, 2), 7), 0)]})
        >>> decode("dots/000000", mode="RGB").getpixel((0, 0))
        (7, 7, 7)
    """

    def __init__(self, sources: Mapping[str, Any]) -> None:
        self.sources = sources

    def __call__(
        self, path: str, *, mode: Literal["RGB", "L"] = "RGB", size: int | None = None
    ) -> Image.Image:
        """Return the image of a name; ``size`` makes no difference, all is decoded."""
        source, _, number = path.rpartition("/")
        image: Image.Image = self.sources[source][int(number)][0]
        return image.convert(mode)
