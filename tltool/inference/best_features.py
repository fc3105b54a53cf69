"""Features of the images of a fit in the network of its best checkpoint, each computed once."""

import contextlib
import copy
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.loading.samples import Splits
from tltool.features.activation_rows import features_of_rows
from tltool.features.cache import cache_root, cached_features
from tltool.features.extraction import extract_features
from tltool.features.fingerprint import make_fingerprint
from tltool.features.frozen_front import FrozenFront
from tltool.features.store import NotKeptError
from tltool.inference.split_features import split_features
from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask


class BestFeatures:
    """Features in the network of a checkpoint, for all that measures it behind a fit.

    Those of a network that did not change are in the cache. Where its frozen layers did not, what
    they compute of the images is there, see `evaluation_front`, and the other layers alone run.
    Else the images pass once.

    Args:
        path: The checkpoint; only its head may change from now on.
        data: The images of its run.
        device: Where to compute.
        caching: The options of the feature cache.
        front: From `evaluation_front`, on the device.
    """

    def __init__(
        self,
        path: str | Path,
        data: ImageDataModule,
        *,
        device: str | torch.device = "cpu",
        caching: Mapping[str, Any],
        front: FrozenFront | None = None,
    ) -> None:
        self.path, self.data, self.device = path, data, device
        self.caching, self.front = caching, front
        self._found: dict[SplitName, Tensor] = {}

    @functools.cached_property
    def backbone(self) -> Backbone:
        """The network, on its device."""
        return ImageTask.load_from_checkpoint(self.path).backbone.to(self.device)

    def of(self, split: SplitName) -> Tensor:
        """Return the features of all images of a split, in order, ``(N, num_features)``."""
        if split not in self._found:
            self._found[split] = self._compute(self.data, split)
        return self._found[split]

    def of_training(self, rows: Sequence[int]) -> Tensor:
        """Return the features of some training images, ``(n, num_features)``."""
        data = copy.copy(self.data)
        data.splits = Splits(self.data.samples("train").subset(rows))
        return self._compute(data, "train")

    def _compute(self, data: ImageDataModule, split: SplitName) -> Tensor:
        if self._is_kept:
            return split_features(self.backbone, data, split, caching=self.caching)
        if self._is_front_shared:
            with contextlib.suppress(NotKeptError):  # It was said in front of the fit.
                return self._by_activations(data, split)
        loader = data.evaluation_dataloader(split)
        words = f"{split} images"
        return extract_features(self.backbone, loader, description=words, total=len(loader))[0]

    @functools.cached_property
    def _is_kept(self) -> bool:
        """Whether the cache has features of this network, as of one that was not trained."""
        if not self.caching["enabled"]:
            return False
        fingerprint = make_fingerprint(self.backbone, self.data.transform().describe())
        return (cache_root(self.caching["cache_dir"]) / fingerprint.name).is_dir()

    @functools.cached_property
    def _is_front_shared(self) -> bool:
        return self.front is not None and self.front.is_shared_by(self.backbone.state_dict())

    def _by_activations(self, data: ImageDataModule, split: SplitName) -> Tensor:
        assert self.front is not None  # noqa: S101  # it is shared
        rows = cached_features(
            self.front,
            data.dataset(split),
            cache=self.caching["cache_dir"],
            batch_size=data.batch_size,
            num_workers=data.evaluation_dataloader(split).num_workers,
            show_progress=True,
            shares_work=False,
        )
        return features_of_rows(self.backbone, self.front, rows, batch_size=data.batch_size)
