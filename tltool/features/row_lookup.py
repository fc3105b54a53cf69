"""Which rows of a data set are there, and which are still to be computed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tltool.features.file_hashes import SeenFiles
from tltool.features.pending_images import PendingPhotos, Photos, Visits, view_keys
from tltool.features.store import FeatureStore


class RowSearch:
    """The rows of photos in a store, as far as the content of the photos is known.

    Args:
        photos: The data set.
        store: Where features are.
        seen: What is known of the files.
        num_views: Number of augmented views of each photo.
    """

    def __init__(
        self, photos: Photos, store: FeatureStore, seen: SeenFiles, num_views: int
    ) -> None:
        self.photos = photos
        self.store = store
        self.seen = seen
        self.num_views = num_views
        self._digests: list[bytes | None] = [None] * len(photos)
        self._look_up()

    def pending(self, share: Sequence[int]) -> PendingPhotos:
        """Return those of some photos that must be read, for a row may be missing."""
        missing = [index for index in share if not self._is_complete(index)]
        return PendingPhotos(self.photos, missing, self.store.rows, self.num_views)

    def note(self, visits: Visits) -> None:
        """Take in the hashes of photos that were read."""
        for index, digest, look in visits.found:
            self._digests[index] = digest
            file = self.photos.file(index)
            if file is not None and look is not None:
                self.seen.add(file, look, digest)

    def save(self) -> None:
        """Write what is known of the files, where the disk takes it."""
        if self.store.is_on_disk:
            self.seen.save()

    def reload(self) -> None:
        """Take in what other processes have written."""
        self.store.reload()
        self.seen.reload()
        self._look_up()

    def rows(self) -> NDArray[np.int64]:
        """Return the number of each row in the store, ``(N, num_views)``."""
        rows = np.empty((len(self.photos), self.num_views), dtype=np.int64)
        for index in range(len(self.photos)):
            rows[index] = [self.store.rows[key] for key in self._keys(index)]
        return rows

    def _look_up(self) -> None:
        for index, digest in enumerate(self._digests):
            file = self.photos.file(index)
            if digest is None and file is not None:
                self._digests[index] = self.seen.find(file)

    def _is_complete(self, index: int) -> bool:
        if self._digests[index] is None:
            return False
        return all(key in self.store for key in self._keys(index))

    def _keys(self, index: int) -> list[bytes]:
        digest = self._digests[index]
        assert digest is not None  # noqa: S101  # all photos were read or known
        return view_keys(digest, self.num_views, is_random=self.photos.is_random)
