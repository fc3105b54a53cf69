"""Duplicates among images: hashes that find exact copies, and near-duplicates of another size."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BITS = 64
EDGE = 16  # of the thumbnail
#: Standard deviation of gray levels (0 to 255) below which an image shows nothing: its hash is that
#: of rounding.
FLAT = 2.0
#: Bits of the hash in which near-duplicates may differ. Images that were resized to a half or saved
#: as JPEG of quality 30 differed in at most 9.
MAX_BITS = 10
#: Of their thumbnails; those images had at least 0.9954. Of 2,624 solar cells, which look alike,
#: 34,643 pairs across the splits agree in the bits, and two in both: cells that were measured
#: twice.
LEAST_CORRELATION = 0.995
#: Where a larger share of many images hangs together by looking alike, they are no copies.
MOST_ALIKE = 0.25
MANY_ALIKE = 20
BLOCK = 512  # rows of the matrix of distances at once


class ImageHash(NamedTuple):
    """What is kept of an image, to compare it with others.

    Attributes:
        digest: Of its content; equal for exact copies alone.
        bits: Difference hash: whether each of 8 x 8 places is brighter than the one to its left.
        thumbnail: 16 x 16 gray levels around their mean, of length 1, as a row; zeros where the
            image is flat.
        aspect: Width by height.
    """

    digest: bytes
    bits: NDArray[np.bool_]
    thumbnail: NDArray[np.float32]
    aspect: float = 1.0

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
        image.width / image.height,
    )


@dataclass(frozen=True)
class Duplicates:
    """Which images are the same.

    Attributes:
        content: A number for each image; equal for exact copies.
        near: Pairs of images with other bytes that show the same, ``(P, 2)``.
        num_flat: Images of one color, which are compared by their bytes alone.
    """

    content: NDArray[np.int64]
    near: NDArray[np.int64]
    num_flat: int

    def clusters(self, tied: Sequence[object] = ()) -> NDArray[np.int64]:
        """Return a number for each image; equal for all that hang together by pairs.

        Args:
            tied: Something for each image that keeps equal ones together too, such as a patient.
        """
        number = len(self.content)
        equal = pairs_of_equal(self.content), pairs_of_equal([str(each) for each in tied])
        rows, columns = np.concatenate([self.near, *equal]).T
        graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(number, number))
        labels: NDArray[np.int64] = connected_components(graph, directed=False)[1]
        return labels

    def ties(self, tied: Sequence[object] = ()) -> tuple[NDArray[np.int64], str]:
        """Return `clusters` in which images that look alike count, unless most of them do.

        Images of a fixed camera all look alike: then exact copies alone keep together, and what is
        tied, for images that are all left out together say nothing of each other.

        Returns:
            A number for each image, and what was done, empty where nothing is to be said.
        """
        every = self.clusters(tied)
        exact = replace(self, near=self.near[:0]).clusters(tied)
        largest, of_exact = (np.bincount(each).max(initial=0) for each in (every, exact))
        if largest <= max(MOST_ALIKE * len(every), MANY_ALIKE, of_exact):
            return every, ""
        return exact, (
            f"{largest:,} of {len(every):,} images hang together by looking alike, as those of a "
            "fixed camera do: exact copies alone are kept together"
        )


def find_duplicates(hashes: Sequence[ImageHash]) -> Duplicates:
    """Find the images that are there twice.

    Example:
        >>> from PIL import Image
        >>> image = Image.radial_gradient("L")
        >>> hashes = [image_hash(image, b"1"), image_hash(image.resize((99, 99)), b"2")]
        >>> find_duplicates(hashes).near
        array([[0, 1]])
    """
    digests = [each.digest for each in hashes]
    _, first, content = np.unique(digests, return_index=True, return_inverse=True)
    # One of each content: its copies are known already.
    chosen = np.array([i for i in np.sort(first) if not hashes[i].is_flat], dtype=np.int64)
    pairs = near_pairs([hashes[index] for index in chosen])
    return Duplicates(content.astype(np.int64), chosen[pairs], sum(each.is_flat for each in hashes))


def near_pairs(hashes: Sequence[ImageHash]) -> NDArray[np.int64]:
    """Return the pairs of images that show the same, ``(P, 2)``, the smaller index first.

    All distances are products of matrices: those of 10,000 images take seconds.

    Args:
        hashes: Of images that are not flat.
    """
    if len(hashes) < 2:
        return np.empty((0, 2), dtype=np.int64)
    signs = np.stack([each.bits for each in hashes]).astype(np.float32) * 2 - 1  # (N, 64)
    thumbnails = np.stack([each.thumbnail for each in hashes])  # (N, 256)
    found: list[Any] = []
    for start in range(0, len(hashes), BLOCK):
        # Equal bits minus different bits.
        agreement = signs[start : start + BLOCK] @ signs[start:].T
        near = np.argwhere(agreement >= BITS - 2 * MAX_BITS) + start  # (P, 2)
        near = near[near[:, 0] < near[:, 1]]
        for chunk in np.array_split(near, len(near) // 100_000 + 1):
            first, second = thumbnails[chunk[:, 0]], thumbnails[chunk[:, 1]]
            correlation = np.einsum("ij,ij->i", first, second)
            found.append(chunk[correlation >= LEAST_CORRELATION])
    return np.concatenate(found).astype(np.int64)


def pairs_of_equal(values: Sequence[object] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs of the first index of a value and each further one, ``(P, 2)``.

    Example:
        >>> pairs_of_equal(["a", "b", "a"]).tolist()
        [[0, 2]]
    """
    _, first, inverse = np.unique(np.array(values), return_index=True, return_inverse=True)
    pairs: NDArray[np.int64] = np.stack([first[inverse], np.arange(len(inverse))], axis=1)
    is_copy: NDArray[np.bool_] = pairs[:, 0] != pairs[:, 1]
    return pairs[is_copy]


def _shrink(gray: Image.Image, width: int, height: int) -> NDArray[np.float32]:
    small: Any = gray.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)  # (height, width)
