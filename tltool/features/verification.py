"""Verification of cached features: all hashes, and a sample of the rows computed again."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tltool._progress import with_progress
from tltool.data.loading.image_dataset import ImageDataset
from tltool.features.cache import cache_root
from tltool.features.extraction import frozen_pass
from tltool.features.file_hashes import FileHashes, hash_content
from tltool.features.fingerprint import make_fingerprint
from tltool.features.row_lookup import files_of, seed_of, view_keys
from tltool.features.segments import DamagedSegmentError, read_segment, segment_paths
from tltool.features.store import FeatureStore
from tltool.models.backbone import Backbone

# Relative, of a row: other batches and threads move it by 1e-6, TF32 on a GPU by 1e-4.
_TOLERANCE = {"full": 1e-3, "reduced": 3e-2}


@dataclass
class Verification:
    """What was found.

    Attributes:
        num_images: Number of images, all hashed anew.
        damaged: Messages about segments that are not what was written; they are removed.
        tolerance: What an error may be.
        num_missing: Number of images without features, which the next run computes.
        changed: Files whose content changed although size, dates and inode did not; their hashes
            are forgotten.
        errors: Of each row that was computed again, the distance to the kept one relative to the
            row's length.
    """

    num_images: int
    damaged: list[str]
    tolerance: float
    num_missing: int = 0
    changed: list[str] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    @property
    def largest_error(self) -> float:
        """The largest of the errors."""
        return max(self.errors, default=0.0)

    @property
    def is_good(self) -> bool:
        """Whether all that is there is as it should be."""
        return not self.changed and not self.damaged and self.largest_error <= self.tolerance


def verify_features(
    backbone: Backbone,
    images: ImageDataset,
    *,
    cache: str | Path | None = None,
    precision: str = "32-true",
    num_views: int = 1,
    num_sampled: int = 16,
    show_progress: bool = False,
) -> Verification:
    """Hash all images and segments anew, and compute a sample of the rows again.

    Args:
        backbone: See `cached_features`.
        images: See `cached_features`.
        cache: See `cache_root`.
        precision: See `frozen_pass`.
        num_views: See `cached_features`.
        num_sampled: Number of images whose features are computed again, spread over all.
        show_progress: Whether there is a progress bar.
    """
    root = cache_root(cache)
    fingerprint = make_fingerprint(backbone, images.transform.describe(), precision=precision)
    tolerance = _TOLERANCE["full" if precision in {"32-true", "64-true"} else "reduced"]
    result = Verification(len(images), remove_damaged(root / fingerprint.name), tolerance)
    store = FeatureStore(root, fingerprint, backbone.num_features)
    hashes = FileHashes(root, files_of(images))
    sampled = {number * len(images) // num_sampled for number in range(num_sampled)}
    with frozen_pass(backbone, precision) as features_of:
        for index in with_progress(range(len(images)), "verifying features", show=show_progress):
            content = images.content(index)
            digest = hash_content(content)
            file = images.file(index)
            if file is not None and hashes.find(file) not in {None, digest}:
                result.changed.append(file)
                hashes.forget(file)
            keys = view_keys(digest, num_views, is_random=images.transform.is_random)
            if not all(key in store for key in keys):
                result.num_missing += 1
            elif index in sampled:
                image = images.image(index, content, seed=seed_of(keys[0]))
                computed = features_of(image[None]).float()
                stored = store.select(np.array([store.rows[keys[0]]]))
                error = (stored - computed).norm() / computed.norm().clamp_min(1e-12)
                result.errors.append(float(error))
    hashes.save()
    return result


def remove_damaged(directory: Path) -> list[str]:
    """Read all segments of a directory, delete damaged ones, and return what was wrong."""
    damaged = []
    for path in segment_paths(directory):
        try:
            read_segment(path, check_features=True)
        except DamagedSegmentError as error:
            try:
                path.unlink(missing_ok=True)
            except OSError as refusal:
                raise PermissionError(
                    f"{error} It cannot be deleted: {refusal.strerror}. Delete it as its owner."
                ) from refusal
            damaged.append(str(error))
    return damaged
