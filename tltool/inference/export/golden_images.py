"""Golden images: small files of every kind that decoding has to treat in a way of its own."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIZE = (72, 96)
_ORIENTATION = 0x0112


def golden_images() -> dict[str, bytes]:
    """Return generated images as the bytes of their files, by what they are; the same each time.

    Example:
        >>> for name, content in golden_images().items():
        ...     with Image.open(io.BytesIO(content)) as image:
        ...         print(name, image.format, image.mode)
        JPEG JPEG RGB
        grey 16-bit PNG PNG I;16
        transparent PNG PNG RGBA
        CMYK JPEG JPEG CMYK
        rotated JPEG JPEG RGB
    """
    colors = Image.fromarray(_pattern(0))
    grey = _pattern(1)[..., 0].astype(np.uint16) * 257
    transparent = Image.fromarray(_pattern(2))
    transparent.putalpha(Image.fromarray(_pattern(3)[..., 0]))
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    return {
        "JPEG": _encoded(colors, "JPEG"),
        "grey 16-bit PNG": _encoded(Image.fromarray(grey), "PNG"),
        "transparent PNG": _encoded(transparent, "PNG"),
        "CMYK JPEG": _encoded(Image.fromarray(_pattern(4)).convert("CMYK"), "JPEG"),
        "rotated JPEG": _encoded(Image.fromarray(_pattern(5)), "JPEG", exif=exif),
    }


def _pattern(seed: int) -> NDArray[np.uint8]:
    """Return smooth waves of random directions ``(H, W, 3)``, which small files hold well."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : _SIZE[0], 0 : _SIZE[1]] / _SIZE[1]
    waves = np.zeros((*_SIZE, 3))
    for across, down, phase, *weights in generator.uniform(-1, 1, (6, 6)):
        wave = np.sin(12 * (across * columns + down * rows) + 6 * phase)
        waves += wave[..., None] * weights
    low, high = waves.min(), waves.max()
    pixels: NDArray[np.uint8] = np.round((waves - low) * (255 / (high - low))).astype(np.uint8)
    return pixels


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
