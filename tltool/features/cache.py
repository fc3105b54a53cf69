"""Features of a frozen backbone, computed once and kept on disk."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import DataLoader

from tltool.features.extraction import frozen_pass
from tltool.features.file_hashes import SeenFiles
from tltool.features.fingerprint import make_fingerprint
from tltool.features.pending_images import (
    PendingPhotos,
    Photos,
    Visit,
    Visits,
    collate_visits,
    files_of,
)
from tltool.features.row_lookup import RowSearch
from tltool.features.store import FeatureStore
from tltool.models.backbone import Backbone


def cache_root(root: str | Path | None = None) -> Path:
    """Return the folder of the cache: the given one, else ``TLTOOL_CACHE``, else a usual one."""
    chosen = root or os.environ.get("TLTOOL_CACHE") or "~/.cache/tltool/features"
    return Path(chosen).expanduser()


@dataclass(frozen=True)
class Features:
    """Features of a data set in its order, read from disk where they are used.

    Attributes:
        labels: ``(N,)``, or ``None`` where they are not known.
        num_views: Number of augmented views of each photo.
        num_computed: Number of rows that this process computed.
        store: Where the rows are.
    """

    labels: Tensor | None
    num_views: int
    num_computed: int
    store: FeatureStore
    _rows: NDArray[np.int64]  # (N, num_views)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_features(self) -> int:
        """Width of a row."""
        return self.store.num_features

    def select(self, indices: Sequence[int] | Tensor, *, view: int = 0) -> Tensor:
        """Return the features ``(n, num_features)`` of some photos."""
        return self.store.select(self._rows[np.asarray(indices), view])

    def tensor(self, *, view: int = 0) -> Tensor:
        """Return all features ``(N, num_features)``: mapped where they lie in order, else copied.

        Do not write into it.
        """
        rows = self._rows[:, view]
        mapped = self.store.view(rows)
        return self.store.select(rows) if mapped is None else mapped


def cached_features(
    backbone: Backbone,
    photos: Photos,
    *,
    cache: str | Path | None = None,
    batch_size: int = 32,
    num_workers: int = 0,
    precision: str = "32-true",
    num_views: int = 1,
    show_progress: bool = False,
) -> Features:
    """Return the features of all photos, of which only those are computed that are not there.

    A row belongs to the content of a photo and to the fingerprint of all else that decides it, see
    `make_fingerprint`. So photos may be moved, and any change is noticed. Where
    ``torch.distributed`` runs, the ranks share the work, and each must call this.

    A killed run leaves the segments that it has finished. Where the disk is full or cannot be
    written, a warning says so, and features stay in memory.

    Args:
        backbone: The network, on the device that computes; its modes are left as they were.
        photos: The data set, such as `ImageDataset`.
        cache: The folder of the cache, see `cache_root`.
        batch_size: Number of images in a forward pass.
        num_workers: Number of processes that decode; 0 for this one.
        precision: Of the pass, see `frozen_pass`.
        num_views: Number of augmented views of each photo, at least 1. Without augmentation there
            is one.
        show_progress: Whether there is a progress bar.

    Raises:
        ValueError: If ``num_views`` is below 1, or a photo cannot be decoded.

    Example:
        >>> import tempfile
        >>> from tltool.data.dataset import ImageDataset
        >>> from tltool.data.indexed import IndexedDecoder
        >>> from tltool.data.samples import Samples
        >>> from tltool.data.transforms import ImageTransform
        >>> from PIL import Image
        >>> backbone = Backbone("test_resnet", weights="random", img_size=32)
        >>> photos = ImageDataset(
        ...     Samples(["dots/0", "dots/1"], [0, 1]),
        ...     ImageTransform(backbone.data_config),
        ...     decode=IndexedDecoder({"dots": [(Image.new("L", (8, 8), c), 0) for c in (0, 9)]}),
        ... )
        >>> folder = tempfile.mkdtemp()
        >>> cached_features(backbone, photos, cache=folder).num_computed
        2
        >>> features = cached_features(backbone, photos, cache=folder)
        >>> features.num_computed, features.tensor().shape, features.labels
        (0, torch.Size([2, 96]), tensor([0, 1]))
    """
    if num_views < 1:
        raise ValueError(f"`num_views` must be at least 1, got {num_views}.")
    num_views = num_views if photos.is_random else 1
    root = cache_root(cache)
    fingerprint = make_fingerprint(backbone, photos.describe(), precision=precision)
    store = FeatureStore(root, fingerprint, backbone.num_features)
    search = RowSearch(photos, store, SeenFiles(root, files_of(photos)), num_views)
    rank, world_size = _rank()
    num_computed = 0
    # By its number in the data set, not among the missing: ranks may find different ones missing.
    for share in (range(rank, len(photos), world_size), range(len(photos))):
        loader = DataLoader(
            search.pending(share),
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=collate_visits,
        )
        with frozen_pass(backbone, precision) as features_of:
            num_computed += _compute(search, loader, features_of, batch_size, show_progress)
        if world_size > 1:
            torch.distributed.barrier()
            search.reload()
    labels = None if photos.labels is None else torch.tensor(photos.labels)
    return Features(labels, num_views, num_computed, store, search.rows())


def _compute(
    search: RowSearch,
    loader: DataLoader[Visit],
    features_of: Callable[[Tensor], Tensor],
    batch_size: int,
    show_progress: bool,
) -> int:
    """Compute what is missing among the photos of a loader; return the number of rows."""
    num_computed = 0
    store, pending = search.store, loader.dataset
    assert isinstance(pending, PendingPhotos)  # noqa: S101  # cached_features made it
    if not len(pending):
        return 0
    store.expect(len(pending) * search.num_views)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not show_progress) as progress:
        bar = progress.add_task("computing features", total=len(pending))
        try:
            for visits in loader:
                search.note(visits)
                num_computed += _add(store, visits, features_of, batch_size)
                progress.advance(bar, len(visits.found))
        finally:  # What was computed before a broken photo, or an interruption, is kept.
            store.flush()
            search.save()
    return num_computed


def _add(
    store: FeatureStore, visits: Visits, features_of: Callable[[Tensor], Tensor], batch_size: int
) -> int:
    # A photo that came twice may have been computed in the last batch.
    new = [number for number, key in enumerate(visits.keys) if key not in store]
    if visits.images is None or not new:
        return 0
    for start in range(0, len(new), batch_size):  # Several views make more than a batch.
        chunk = new[start : start + batch_size]
        store.add([visits.keys[number] for number in chunk], features_of(visits.images[chunk]))
    return len(new)


def _rank() -> tuple[int, int]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()
