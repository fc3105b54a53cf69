"""Rows of features by the content of images: which are in a store, and those that are computed."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from tltool._progress import with_progress
from tltool.data.loading.image_dataset import ImageDataset
from tltool.features.file_hashes import FileHashes
from tltool.features.pending_images import PendingImages, ReadImages, files_of, view_keys
from tltool.features.store import FeatureStore


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

    def compute(
        self,
        share: Sequence[int],
        features_of: Callable[[Tensor], Tensor],
        *,
        batch_size: int,
        num_workers: int,
        show_progress: bool,
    ) -> int:
        """Compute the rows that are missing of some images, and return their number.

        Args:
            share: The numbers of the images.
            features_of: The network, from images to features.
            batch_size: Number of images in a forward pass.
            num_workers: Number of processes that decode; 0 for this one.
            show_progress: Whether there is a progress bar.
        """
        missing = [index for index in share if not self._is_complete(index)]
        if not missing:
            return 0
        self.store.expect(len(missing) * self.num_views)
        pending = PendingImages(self.images, missing, self.store.rows, self.num_views, batch_size)
        # It reads in batches itself, and they stay as they are.
        loader: DataLoader[ReadImages] = DataLoader(
            pending, batch_size=None, collate_fn=ReadImages._make, num_workers=num_workers
        )
        num_computed = 0
        try:
            for read in with_progress(loader, "computing features", show=show_progress):
                self._note(read)
                # An image that came twice may have been computed in the last batch.
                new = [number for number, key in enumerate(read.keys) if key not in self.store]
                for start in range(0, len(new), batch_size):  # Several views make more than that.
                    chunk = new[start : start + batch_size]
                    keys = [read.keys[number] for number in chunk]
                    self.store.add(keys, features_of(read.views[chunk]))
                num_computed += len(new)
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

    def _is_complete(self, index: int) -> bool:
        return self._digests[index] is not None and all(
            key in self.store for key in self._keys(index)
        )

    def _keys(self, index: int) -> list[bytes]:
        digest = self._digests[index]
        assert digest is not None  # noqa: S101  # the image was read, or is known
        return view_keys(digest, self.num_views, is_random=self.images.transform.is_random)
