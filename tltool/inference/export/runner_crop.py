"""The crop of an image on Pillow alone, for a graph that takes images of the size of the crop."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from tltool.data.transforms.crop_geometry import CropGeometry


def cropped(image: Image.Image, data_config: Mapping[str, Any]) -> Image.Image:
    """Return the pixels that `ImageTransform` gives, to the last bit: resized, cropped, padded.

    Args:
        image: A decoded image.
        data_config: See `ImageTransform`.

    Example:
        >>> config = {"input_size": (3, 8, 12), "interpolation": "bicubic", "crop_pct": 1.0,
        ...           "crop_mode": "border", "mean": (0.5,) * 3}
        >>> cropped(Image.new("RGB", (50, 30), "white"), config).getpixel((0, 0))
        (255, 255, 255)
    """
    geometry = CropGeometry(data_config)
    window = geometry.window(image)
    if window is None:
        height, width = geometry.resized_size(image)
        window = image.resize((width, height), geometry.resample)
    rows, columns = geometry.crop_size
    missing = max(rows - window.height, 0), max(columns - window.width, 0)
    if any(missing):
        window = _padded(window, missing, data_config)
    top, left = round((window.height - rows) / 2), round((window.width - columns) / 2)
    return window.crop((left, top, left + columns, top + rows))


def _padded(
    image: Image.Image, missing: tuple[int, int], data_config: Mapping[str, Any]
) -> Image.Image:
    """Return an image in the middle of a larger one, of the mean color where timm takes that."""
    is_border = data_config["crop_mode"] == "border"
    color = tuple(round(255 * mean) * is_border for mean in data_config["mean"])
    size = image.width + missing[1], image.height + missing[0]
    canvas = Image.new(image.mode, size, color if len(color) > 1 else color[0])
    canvas.paste(image, (missing[1] // 2, missing[0] // 2))
    return canvas
