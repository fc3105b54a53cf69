"""Images whose features may be missing: read, hashed, and decoded where they must be computed."""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tltool.data.loading.image_dataset import ImageDataset
from tltool.features.file_hashes import FileStatus, file_status, hash_content


class ReadImages(NamedTuple):
    """Images that were read together.

    Attributes:
        found: Of each image its index, the hash of its content, and its file's status before it was
            read.
        keys: Of the views whose features are missing, each once.
        views: Of these keys, ``(n, C, H, W)``; empty where no features are missing.
    """

    found: list[tuple[int, bytes, FileStatus | None]]
    keys: list[bytes]
    views: Tensor


@dataclass(frozen=True)
class PendingImages(Dataset[ReadImages]):
    """Read images once, in batches: hash the content, and decode where features are missing.

    Args:
        images: The data set.
        indices: The images that may have to be computed.
        known: Keys whose features are there.
        num_views: Number of augmented views of each image.
        batch_size: Number of images that are read together.
    """

    images: ImageDataset
    indices: Sequence[int]
    known: Container[bytes]
    num_views: int
    batch_size: int

    def __len__(self) -> int:
        return math.ceil(len(self.indices) / self.batch_size)

    def __getitem__(self, number: int) -> ReadImages:
        if number >= len(self):
            raise IndexError(number)  # Else a loop over it would not end.
        found, views = [], dict[bytes, Tensor]()
        start = number * self.batch_size
        for index in self.indices[start : start + self.batch_size]:
            file = self.images.file(index)
            # Before it is read: a change in between is then noticed at the next time.
            status = None if file is None else file_status(file)
            content = self.images.content(index)
            digest = hash_content(content)
            found.append((index, digest, status))
            is_random = self.images.transform.is_random
            for key in view_keys(digest, self.num_views, is_random=is_random):
                if key not in self.known and key not in views:
                    views[key] = self.images.image(index, content, seed=seed_of(key))
        stacked = torch.stack([*views.values()]) if views else torch.empty(0)
        return ReadImages(found, list(views), stacked)


def files_of(images: ImageDataset) -> list[str]:
    """Return the files of images, without those that have none of their own."""
    files = (images.file(index) for index in range(len(images)))
    return [file for file in files if file is not None]


def view_keys(digest: bytes, num_views: int, *, is_random: bool) -> list[bytes]:
    """Return the keys of an image's features.

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
