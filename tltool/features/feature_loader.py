"""Loader of cached features: the batches of a loader of images, without an image; their mixup."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tltool.data.loading.batch_loader import BatchLoader, EpochBatches
from tltool.data.loading.image_dataset import ImageDataset, collate
from tltool.data.loading.shuffled_sampler import Draw
from tltool.features.activation_cut import ActivationCut
from tltool.features.cache import FeatureRows


class FeatureLoader:
    """The batches of a `BatchLoader`, with ``features`` in place of ``images``.

    It follows the batch sampler of the loader, so that order, seeds, the share of a rank and the
    place where a resumed epoch goes on stay the same.

    Args:
        loader: A loader of `ImageDataModule`, whose ``substitute`` this is to be.
        views: Features ``(N, num_features)`` of all its images, one tensor or sequence for each
            augmented view.
        cut: Where the network is cut, if these are ``activations`` of its layers.
        mixing: Mixes the batches of a training loader; ``None`` leaves them as they are.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> from tltool.data.loading.samples import Samples
        >>> images = ImageDataset(Samples(["a.jpg", "b.jpg"], [0, 1]), transform=None)
        >>> loader = BatchLoader(DataLoader(images, batch_sampler=[[1], [0]]))
        >>> loader.substitute = FeatureLoader(loader, [torch.eye(2)])
        >>> next(iter(loader))
        {'features': tensor([[0., 1.]]), 'labels': tensor([1]), 'paths': ['b.jpg']}
    """

    def __init__(
        self,
        loader: BatchLoader,
        views: Sequence[Tensor | FeatureRows],
        *,
        cut: ActivationCut | None = None,
        mixing: "FeatureMixing | None" = None,
    ) -> None:
        dataset = loader.images.dataset
        assert isinstance(dataset, ImageDataset)  # noqa: S101  # the loaders of ImageDataModule
        self.samples = dataset.samples
        self.batch_sampler: Any = loader.batch_sampler
        self.views = views
        self.cut = cut
        self.mixing = mixing

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        batches = self.batch_sampler
        first = batches.first if isinstance(batches, EpochBatches) else 0
        for number, keys in enumerate(batches, start=first):
            batch = self._batch(keys)
            yield batch if self.mixing is None else self.mixing(batch, seed=batches.seed(number))

    def _batch(self, keys: Sequence[int | Draw]) -> dict[str, Any]:
        if not keys:
            return collate([])
        draws = [key if isinstance(key, Draw) else Draw(key, seed=0) for key in keys]
        paths, labels = self.samples.paths, self.samples.labels or ()
        rows = [self.views[draw.seed % len(self.views)][draw.position] for draw in draws]
        stacked = torch.stack(rows)
        features = {"features": stacked}
        if self.cut is not None:
            features = {"activations": stacked.view(-1, *self.cut.shape)}
        return {
            **features,
            "labels": torch.tensor([labels[draw.position] for draw in draws]),
            "paths": [paths[draw.position] for draw in draws],
        }


class FeatureMixing:
    """Mix each image's features with those of the image before it in the batch.

    What is left of mixup where a frozen backbone has seen the images already: it mixes in the last
    layer (manifold mixup, Verma et al., 2019, https://arxiv.org/abs/1806.05236). ``labels`` and
    ``hard_labels`` are those of `MixingCollate`.

    Args:
        num_classes: Number of classes.
        alpha: Parameter of the Beta distribution of an image's own share.

    Example:
        >>> batch = {"features": torch.eye(2), "labels": torch.tensor([0, 1])}
        >>> mixed = FeatureMixing(2, alpha=0.2)(batch, seed=0)
        >>> torch.equal(mixed["features"], mixed["labels"]), mixed["labels"].sum(dim=1)
        (True, tensor([1., 1.]))
    """

    def __init__(self, num_classes: int, *, alpha: float) -> None:
        self.num_classes = num_classes
        self.alpha = alpha

    def __call__(self, batch: dict[str, Any], *, seed: int) -> dict[str, Any]:
        """Return the mixed batch; the seed decides the shares."""
        share = np.random.default_rng(seed).beta(self.alpha, self.alpha)
        kind = "features" if "features" in batch else "activations"
        features, labels = batch[kind], batch["labels"]
        several = labels.ndim == 2
        shares = labels if several else functional.one_hot(labels, self.num_classes).float()
        mixed = share * shares + (1 - share) * shares.roll(1, dims=0)
        return {
            **batch,
            kind: share * features + (1 - share) * features.roll(1, dims=0),
            "labels": mixed,
            # The larger share; of several classes those of the image that has it.
            "hard_labels": (mixed > 0.5).float() if several else mixed.argmax(dim=1),
        }
