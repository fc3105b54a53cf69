"""Hashes of an image that find its duplicates: of its bytes, a difference hash, a thumbnail."""

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 64
EDGE = 16  # of the thumbnail
#: Standard deviation of gray levels (0 to 255) below which an image shows nothing: its hash is that
#: of rounding.
FLAT = 2.0


class ImageHash(NamedTuple):
    """What is kept of an image, to compare it with others.

    Attributes:
        digest: Of its content; equal for exact copies alone.
        bits: Difference hash: whether each of 8 x 8 places is brighter than the one to its left.
        thumbnail: 16 x 16 gray levels around their mean, of length 1, as a row; zeros where the
            image is flat.
    """

    digest: bytes
    bits: NDArray[np.bool_]
    thumbnail: NDArray[np.float32]

    @property
    def is_flat(self) -> bool:
        """Whether the image is of one color, like any other such image."""
        return not self.thumbnail.any()


def image_hash(image: Image.Image, content: bytes) -> ImageHash:
    """Return the hashes of an image.

    The difference hash (Krawetz, 2013, https://www.hackerfactor.com/blog/?/archives/529) survives
    other sizes, encodings and brightness. It is the same for many images that are merely alike, so
    `near_pairs` looks at the thumbnails too.

    Args:
        image: Decoded; a smaller version will do.
        content: The bytes of the file, or of the pixels.

    Example:
        >>> gray = Image.linear_gradient("L")
        >>> int(image_hash(gray, b"1").bits.sum()), image_hash(gray.rotate(90), b"2").bits.all()
        (0, np.True_)
    """
    gray = image.convert("L")
    # Means over the area, which do not depend on the size of the image.
    small = _shrink(gray, BITS // 8 + 1, BITS // 8)
    levels = _shrink(gray, EDGE, EDGE).ravel()
    centered = levels - levels.mean()
    length = float(np.linalg.norm(centered))
    is_flat = length < FLAT * EDGE  # the root of the mean square, over EDGE x EDGE places
    return ImageHash(
        hashlib.blake2b(content, digest_size=16).digest(),
        (small[:, 1:] > small[:, :-1]).ravel(),
        np.zeros_like(centered) if is_flat else centered / length,
    )


def _shrink(gray: Image.Image, width: int, height: int) -> NDArray[np.float32]:
    small: Any = gray.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)  # (height, width)
