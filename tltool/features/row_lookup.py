"""Rows of features by the content of images: which are in a store, and those that are computed."""

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tltool._progress import with_progress
from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.worker_signals import pass_signals_by, signals_blocked
from tltool.features.file_hashes import FileHashes, FileStatus, file_status, hash_content
from tltool.features.store import FeatureStore


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


class PassStoppedError(Exception):
    """A pass was stopped; what it had computed is kept."""


class RowLookup:
    """The rows of images in a store, as far as the content of the images is known.

    Args:
        images: The data set.
        store: Where features are.
        num_views: Number of augmented views of each image.
    """

    def __init__(self, images: ImageDataset, store: FeatureStore, num_views: int) -> None:
        self.images = images
        self.store = store
        self.num_views = num_views
        self._hashes = FileHashes(store.directory.parent, files_of(images))
        self._digests: list[bytes | None] = [None] * len(images)
        self._find_digests()

    def pending(self, share: Sequence[int], batch_size: int) -> PendingImages:
        """Return those of some images that must be read, for a row may be missing."""
        missing = [
            index
            for index in share
            if self._digests[index] is None or any(k not in self.store for k in self._keys(index))
        ]
        return PendingImages(self.images, missing, self.store.rows, self.num_views, batch_size)

    def read_hashes(self) -> None:
        """Hash the images whose content is not known yet; none is decoded."""
        for index, digest in enumerate(self._digests):
            if digest is None:
                self._digests[index] = hash_content(self.images.content(index))

    def compute(
        self,
        pending: PendingImages,
        features_of: Callable[[Tensor], Tensor],
        num_workers: int,
        show_progress: bool,
        is_stopped: Callable[[], bool],
    ) -> int:
        """Compute the rows that are missing of some images, and return their number.

        Args:
            pending: The images.
            features_of: The network, from images to features.
            num_workers: Number of processes that decode; 0 for this one.
            show_progress: Whether there is a progress bar.
            is_stopped: Asked behind each batch.

        Raises:
            PassStoppedError: If it is stopped.
        """
        if not len(pending):
            return 0
        self.store.expect(len(pending.indices) * self.num_views)
        # It reads in batches itself, and they stay as they are.
        loader: DataLoader[ReadImages] = DataLoader(
            pending,
            batch_size=None,
            collate_fn=ReadImages._make,
            num_workers=num_workers,
            worker_init_fn=pass_signals_by,
        )
        size = pending.batch_size
        num_computed = 0
        try:
            with signals_blocked():
                batches = iter(loader)
            description = "computing features"
            for read in with_progress(batches, description, total=len(loader), show=show_progress):
                self._note(read)
                # An image that came twice may have been computed in the last batch.
                new = [number for number, key in enumerate(read.keys) if key not in self.store]
                for start in range(0, len(new), size):  # Several views make more than that.
                    chunk = new[start : start + size]
                    keys = [read.keys[number] for number in chunk]
                    self.store.add(keys, features_of(read.views[chunk]))
                num_computed += len(new)
                if is_stopped():
                    raise PassStoppedError
        finally:  # What was computed before a broken image, or an interruption, is kept.
            self.store.flush()
            if self.store.is_on_disk:
                self._hashes.save()
        return num_computed

    def reload(self) -> None:
        """Take in what other processes have written."""
        self.store.reload()
        self._hashes.reload()
        self._find_digests()

    def rows(self) -> NDArray[np.int64]:
        """Return the number of each row in the store, ``(N, num_views)``."""
        keys = (self._keys(index) for index in range(len(self.images)))
        return np.array([[self.store.rows[key] for key in row] for row in keys], dtype=np.int64)

    def _note(self, read: ReadImages) -> None:
        for index, digest, status in read.found:
            self._digests[index] = digest
            file = self.images.file(index)
            if file is not None and status is not None:
                self._hashes.add(file, status, digest)

    def _find_digests(self) -> None:
        for index, digest in enumerate(self._digests):
            file = self.images.file(index)
            if digest is None and file is not None:
                self._digests[index] = self._hashes.find(file)

    def _keys(self, index: int) -> list[bytes]:
        digest = self._digests[index]
        assert digest is not None  # noqa: S101  # the image was read, or is known
        return view_keys(digest, self.num_views, is_random=self.images.transform.is_random)


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
