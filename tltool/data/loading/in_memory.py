"""Decoder of images in memory or behind another library, which have a number, not a file."""

from collections.abc import Mapping
from typing import Any, Literal

from PIL import Image

from tltool.data.files.image_sources import ImageSource, read_image
from tltool.data.files.value_range import ValueRange


class InMemoryDecoder:
    """Turn names such as ``CIFAR10/train/000123`` into images, as `decode_image` does with paths.

    Args:
        sources: What gives a pair of image and label by number, by the name in front of the number.
            An image is a Pillow image or pixels, see `read_image`.

    Example:
        >>> decode = InMemoryDecoder({"dots": [(Image.new("L", (2, 2), 7), 0)]})
        >>> decode("dots/000000", mode="RGB").getpixel((0, 0))
        (7, 7, 7)
    """

    def __init__(self, sources: Mapping[str, Any]) -> None:
        self.sources = sources

    def __call__(
        self,
        path: str,
        *,
        mode: Literal["RGB", "L"] = "RGB",
        size: int | None = None,
        value_range: ValueRange | None = None,
    ) -> Image.Image:
        """Return the image of a name, see `read_image`."""
        return self.read(path, self.image(path), mode=mode, size=size, value_range=value_range)

    def read(self, path: str, image: ImageSource, **options: Any) -> Image.Image:
        """Return what is stored under a name as an image, see `read_image`."""
        return read_image(image, **options)

    def image(self, path: str) -> ImageSource:
        """Return the image of a name as its source has it."""
        source, _, number = path.rpartition("/")
        image: ImageSource = self.sources[source][int(number)][0]
        return image
