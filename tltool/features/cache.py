"""Cache of features: those of a frozen backbone are computed once and kept on disk."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tltool.data.loading.image_dataset import ImageDataset
from tltool.features.extraction import frozen_pass
from tltool.features.fingerprint import make_fingerprint
from tltool.features.frozen_front import ActivationRangeError, FrozenFront
from tltool.features.row_lookup import PassStoppedError, RowLookup
from tltool.features.store import FeatureStore, NotKeptError
from tltool.models.backbone import Backbone

_REFUSALS = (ActivationRangeError, NotKeptError, PassStoppedError)


def cache_root(root: str | Path | None = None) -> Path:
    """Return the directory of the cache: the given one, else ``TLTOOL_CACHE``, else a usual one."""
    chosen = root or os.environ.get("TLTOOL_CACHE") or "~/.cache/tltool/features"
    return Path(chosen).expanduser()


@dataclass(frozen=True)
class Features:
    """Features of a data set in its order, read from disk where they are used.

    Attributes:
        labels: ``(N,)``, or ``None`` where they are not known.
        num_views: Number of augmented views of each image.
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
        """Return the features ``(n, num_features)`` of some images."""
        return self.store.select(self._rows[np.asarray(indices), view])

    def tensor(self, *, view: int = 0) -> Tensor:
        """Return all features ``(N, num_features)``: mapped where they lie in order, else copied.

        Do not write into it.
        """
        return self.store.select(self._rows[:, view])

    def rows(self, *, view: int = 0) -> "FeatureRows":
        """Return the features of all images as a sequence that reads each where it is used."""
        return FeatureRows(self, view)


@dataclass(frozen=True)
class FeatureRows:
    """The features of a view as a sequence: for those that are too large to be held in memory.

    Args:
        features: Of all images.
        view: Number of the view.
    """

    features: Features
    view: int

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, position: int) -> Tensor:
        return self.features.select([position], view=self.view)[0]


def cached_features(
    backbone: Backbone | FrozenFront,
    images: ImageDataset,
    *,
    cache: str | Path | None = None,
    batch_size: int = 32,
    num_workers: int = 0,
    precision: str = "32-true",
    num_views: int = 1,
    show_progress: bool = False,
    is_stopped: Callable[[], bool] = lambda: False,
    network: nn.Module | None = None,
    shares_work: bool = True,
) -> Features:
    """Return the features of all images, of which only those are computed that are not there.

    A row belongs to the content of an image and to the fingerprint of all else that decides it, see
    `make_fingerprint`. So images may be moved, and any change is noticed. Where
    ``torch.distributed`` runs, the ranks share the work, and each must call this.

    A killed run leaves the segments that it has finished. Where the disk is full or cannot be
    written, a warning says so, and features stay in memory; activations, which may be too large for
    it, are refused.

    Args:
        backbone: The network, or its layers in front of a cut, on the device that computes; its
            modes are left as they were.
        images: The data set.
        cache: The directory of the cache, see `cache_root`.
        batch_size: Number of images in a forward pass.
        num_workers: Number of processes that decode; 0 for this one.
        precision: Of the pass, see `frozen_pass`.
        num_views: Number of augmented views of each image, at least 1. Without augmentation there
            is one.
        show_progress: Whether there is a progress bar.
        is_stopped: Asked behind each batch whether to stop the pass.
        network: What makes the features of what ``images`` gives; ``None`` for the backbone.
        shares_work: Whether the ranks share the work; else one alone may call this.

    Raises:
        ValueError: If ``num_views`` is below 1, or an image cannot be decoded.
        PassStoppedError: On all ranks, if it was stopped on one.
        ActivationRangeError: On all ranks, if activations are too large for their type.
        NotKeptError: On all ranks, if activations cannot be kept on the disk.

    Example:
        >>> import tempfile
        >>> from tltool.data.loading.in_memory import InMemoryDecoder
        >>> from tltool.data.loading.samples import Samples
        >>> from tltool.data.transforms.image_transform import ImageTransform
        >>> from PIL import Image
        >>> backbone = Backbone("test_resnet", weights="random", img_size=32)
        >>> images = ImageDataset(
        ...     Samples(["dots/0", "dots/1"], [0, 1]),
        ...     ImageTransform(backbone.data_config),
        ...     decode=InMemoryDecoder({"dots": [(Image.new("L", (8, 8), c), 0) for c in (0, 9)]}),
        ... )
        >>> directory = tempfile.mkdtemp()
        >>> cached_features(backbone, images, cache=directory).num_computed
        2
        >>> features = cached_features(backbone, images, cache=directory)
        >>> features.num_computed, features.tensor().shape, features.labels
        (0, torch.Size([2, 96]), tensor([0, 1]))
    """
    if num_views < 1:
        raise ValueError(f"`num_views` must be at least 1, got {num_views}.")
    num_views = num_views if images.transform.is_random else 1
    store = _open_store(backbone, images, cache, precision)
    lookup = RowLookup(images, store, num_views)
    is_distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    is_distributed = is_distributed and shares_work
    rank = torch.distributed.get_rank() if is_distributed else 0
    world_size = torch.distributed.get_world_size() if is_distributed else 1
    num_computed = 0
    # By its number in the data set, not among the missing: ranks may find different ones missing.
    for share in (range(rank, len(images), world_size), range(len(images))):
        refusal: Exception | None = None
        try:
            with frozen_pass(network or backbone, precision) as features_of:
                pending = lookup.pending(share, batch_size)
                num_computed += lookup.compute(
                    pending, features_of, num_workers, show_progress, is_stopped
                )
        except _REFUSALS as error:
            refusal = error
        _raise_on_all_ranks(refusal, world_size)
        if world_size > 1:
            lookup.reload()
    return Features(_labels(images), num_views, num_computed, store, lookup.rows())


def find_features(
    backbone: Backbone,
    images: ImageDataset,
    *,
    cache: str | Path | None = None,
    precision: str = "32-true",
) -> Features | None:
    """Return the features of all images if all of them are kept; compute and write nothing.

    Args:
        backbone: The network, on the device that would compute.
        images: The data set, without augmentation.
        cache: The directory of the cache, see `cache_root`.
        precision: Of the pass that computed them.

    Returns:
        ``None`` where a row is missing.
    """
    if images.transform.is_random:
        return None
    store = _open_store(backbone, images, cache, precision)
    if not store.rows:
        return None
    lookup = RowLookup(images, store, num_views=1)
    lookup.read_hashes()
    if len(lookup.pending(range(len(images)), batch_size=1)):
        return None
    return Features(_labels(images), 1, 0, store, lookup.rows())


def _open_store(
    backbone: Backbone | FrozenFront,
    images: ImageDataset,
    cache: str | Path | None,
    precision: str,
) -> FeatureStore:
    return FeatureStore(
        cache_root(cache),
        make_fingerprint(backbone, images.transform.describe(), precision=precision),
        backbone.num_features,
        needs_disk=isinstance(backbone, FrozenFront),
    )


def _labels(images: ImageDataset) -> Tensor | None:
    return None if images.samples.labels is None else torch.tensor(images.samples.labels)


def _raise_on_all_ranks(refusal: Exception | None, world_size: int) -> None:
    """Wait for the other ranks, and raise the first refusal of any, so that none waits for one."""
    refusals = [refusal]
    if world_size > 1:
        refusals *= world_size
        torch.distributed.all_gather_object(refusals, refusal)
    for found in refusals:
        if found is not None:
            raise found
