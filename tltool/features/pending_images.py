"""What the cache asks of a data set, and the photos that are still to be computed."""

import hashlib
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tltool.features.file_hashes import Look, try_look
from tltool.features.segments import KEY_BYTES


class Photos(Protocol):
    """Photos in an order, each as a file's content and as a tensor."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Sequence[int] | None:
        """The label of each photo, where they are known."""

    @property
    def is_random(self) -> bool:
        """Whether the tensor of a photo depends on a seed."""

    def file(self, index: int) -> str | None:
        """Return the file that holds this photo and nothing else, or ``None``."""

    def content(self, index: int) -> bytes:
        """Return what decides the photo: the bytes of the file, or of the pixels."""

    def image(self, index: int, content: bytes, *, seed: int | None = None) -> Tensor:
        """Return the tensor ``(C, H, W)`` of a content, augmented as the seed says."""

    def describe(self) -> Mapping[str, Any]:
        """Return all that decides the tensor apart from content and seed, as plain data."""


class Visit(NamedTuple):
    """What was found out about a photo.

    Attributes:
        number: Its place in the data set.
        digest: The hash of its content.
        look: How its file looked before it was read.
        images: By key, the views ``(C, H, W)`` whose features are not there.
    """

    number: int
    digest: bytes
    look: Look | None
    images: dict[bytes, Tensor]


class Visits(NamedTuple):
    """Photos that were visited together.

    Attributes:
        found: Number, hash and look of each photo.
        keys: Of the images.
        images: ``(n, C, H, W)``, or ``None`` where all features are there.
    """

    found: list[tuple[int, bytes, Look | None]]
    keys: list[bytes]
    images: Tensor | None


class PendingPhotos(Dataset[Visit]):
    """Read photos once: hash the content, and decode it only where its features are not there.

    Args:
        photos: The data set.
        indices: The photos that may have to be computed.
        known: Keys whose features are there.
        num_views: Number of augmented views of each photo.
    """

    def __init__(
        self, photos: Photos, indices: Sequence[int], known: Container[bytes], num_views: int
    ) -> None:
        self.photos = photos
        self.indices = indices
        self.known = known
        self.num_views = num_views

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Visit:
        index = self.indices[number]
        file = self.photos.file(index)
        # Before it is read: a change in between is then noticed at the next visit.
        look = None if file is None else try_look(file)
        content = self.photos.content(index)
        digest = hash_content(content)
        keys = view_keys(digest, self.num_views, is_random=self.photos.is_random)
        missing = [key for key in keys if key not in self.known]
        images = {key: self.photos.image(index, content, seed=seed_of(key)) for key in missing}
        return Visit(index, digest, look, images)


def collate_visits(visits: Sequence[Visit]) -> Visits:
    """Put the images of visits together; of equal photos the first one counts."""
    found = [(visit.number, visit.digest, visit.look) for visit in visits]
    images: dict[bytes, Tensor] = {}
    for visit in visits:
        images |= {key: image for key, image in visit.images.items() if key not in images}
    return Visits(found, list(images), torch.stack(list(images.values())) if images else None)


def files_of(photos: Photos) -> list[str]:
    """Return the files of photos, without those that have none of their own."""
    files = (photos.file(index) for index in range(len(photos)))
    return [file for file in files if file is not None]


def hash_content(content: bytes) -> bytes:
    """Return the hash of a photo's content."""
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()


def view_keys(digest: bytes, num_views: int, *, is_random: bool) -> list[bytes]:
    """Return the keys of a photo's features.

    Without augmentation it is the hash of the content. With it, a view's key depends on its number
    too, so that more views can be added later.

    Example:
        >>> two = view_keys(b"0123456789abcdef", 2, is_random=True)
        >>> three = view_keys(b"0123456789abcdef", 3, is_random=True)
        >>> two == three[:2], view_keys(b"0123456789abcdef", 1, is_random=False)
        (True, [b'0123456789abcdef'])
    """
    if not is_random:
        return [digest]
    return [hash_content(digest + view.to_bytes(4, "little")) for view in range(num_views)]


def seed_of(key: bytes) -> int:
    """Return the seed of an augmented view: the same on every machine, and in any order.

    Example:
        >>> seed_of(bytes(16))
        0
    """
    return int.from_bytes(key[:7], "little")
