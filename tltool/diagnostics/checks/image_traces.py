"""What tells images apart without looking at them: size, color, border, compression, EXIF."""

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Of its sides, by which a border is looked at.
_BORDER = 0.02
_TAGS = (271, 272, 274, 305, 306)  # maker, model, orientation, software, date

Traces = dict[str, list[float]]


def image_traces(image: Image.Image, content: bytes | None) -> Traces:
    """Return what is known of an image beside what it shows, as some numbers for each kind.

    Args:
        image: Decoded; a smaller version will do.
        content: The bytes of its file; ``None`` where it has none of its own.

    Example:
        >>> {name: len(row) for name, row in image_traces(Image.new("RGB", (8, 8)), None).items()}
        {'mean color': 3, 'border pixels': 8}
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.float64)  # (H, W, 3)
    found = {
        "mean color": pixels.mean(axis=(0, 1)).tolist(),
        "border pixels": _border(pixels.mean(axis=2)),
    }
    return found if content is None else {**_file_traces(content), **found}


def _border(gray: NDArray[np.float64]) -> list[float]:
    """Return mean and standard deviation of the pixels along each side."""
    height, width = (max(round(_BORDER * side), 1) for side in gray.shape)
    sides = (gray[:height], gray[-height:], gray[:, :width], gray[:, -width:])
    return [float(value) for side in sides for value in (side.mean(), side.std())]


def _file_traces(content: bytes) -> Traces:
    """Return what the file says, of which the pixels are not decoded."""
    found = {"file size": [math.log(max(len(content), 1))]}
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            info: dict[Any, Any] = image.info
            tables: Any = getattr(image, "quantization", None) or {}
            exif = image.getexif()
            kind = str(image.format)
            found["image size"] = [width, height, width / height]
            found["compression"] = [
                float(sum(map(ord, kind))),  # A number that stands for the name.
                *(float(sum(tables.get(number, ()))) for number in (0, 1)),
                float("progressive" in info or "progression" in info),
            ]
            found["EXIF"] = [
                float(len(exif)),
                *(float(sum(map(ord, str(exif.get(tag, ""))))) for tag in _TAGS),
                *(float(len(info.get(key, b""))) for key in ("icc_profile", "comment")),
                float(sum(info.get("dpi", (0, 0)))),
            ]
    except (OSError, ValueError, SyntaxError, TypeError):
        return {"file size": found["file size"]}  # Pillow cannot read what our decoder can.
    return found
