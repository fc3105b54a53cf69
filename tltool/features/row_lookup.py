"""Lookup of an image's row in a store, by its content: which are there, and which are missing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tltool.features.file_hashes import FileHashes
from tltool.features.pending_images import (
    ImageSource,
    PendingImages,
    ReadImages,
    files_of,
    view_keys,
)
from tltool.features.store import FeatureStore


class RowLookup:
    """The rows of images in a store, as far as the content of the images is known.

    Args:
        images: The data set.
        store: Where features are.
        num_views: Number of augmented views of each image.
    """

    def __init__(self, images: ImageSource, store: FeatureStore, num_views: int) -> None:
        self.images = images
        self.store = store
        self.num_views = num_views
        self._hashes = FileHashes(store.folder.parent, files_of(images))
        self._digests: list[bytes | None] = [None] * len(images)
        self._find_digests()

    def pending(self, share: Sequence[int], batch_size: int) -> PendingImages:
        """Return those of some images that must be read, for a row may be missing."""
        missing = [index for index in share if not self._is_complete(index)]
        return PendingImages(self.images, missing, self.store.rows, self.num_views, batch_size)

    def note(self, read: ReadImages) -> None:
        """Take in the hashes of images that were read."""
        for index, digest, status in read.found:
            self._digests[index] = digest
            file = self.images.file(index)
            if file is not None and status is not None:
                self._hashes.add(file, status, digest)

    def save(self) -> None:
        """Write what is known of the files, where the disk takes it."""
        if self.store.is_on_disk:
            self._hashes.save()

    def reload(self) -> None:
        """Take in what other processes have written."""
        self.store.reload()
        self._hashes.reload()
        self._find_digests()

    def rows(self) -> NDArray[np.int64]:
        """Return the number of each row in the store, ``(N, num_views)``."""
        rows = np.empty((len(self.images), self.num_views), dtype=np.int64)
        for index, digest in enumerate(self._digests):
            assert digest is not None  # noqa: S101  # all images were read or known
            rows[index] = [self.store.rows[key] for key in self._keys(digest)]
        return rows

    def _find_digests(self) -> None:
        for index, digest in enumerate(self._digests):
            file = self.images.file(index)
            if digest is None and file is not None:
                self._digests[index] = self._hashes.find(file)

    def _is_complete(self, index: int) -> bool:
        digest = self._digests[index]
        return digest is not None and all(key in self.store for key in self._keys(digest))

    def _keys(self, digest: bytes) -> list[bytes]:
        return view_keys(digest, self.num_views, is_random=self.images.is_random)
