"""Features by way of activations that are kept: behind a cut no image is decoded."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tltool.data.loading.image_dataset import ImageDataset
from tltool.features.activation_cut import LayersBehind
from tltool.features.cache import Features, cached_features
from tltool.features.extraction import frozen_pass
from tltool.features.file_hashes import hash_content
from tltool.features.frozen_front import FrozenFront
from tltool.models.backbone import Backbone


class ActivationImages(ImageDataset):
    """Images whose tensors are the rows of their activations.

    Args:
        images: The images, as in evaluation.
        rows: Of `FrozenFront`.
    """

    def __init__(self, images: ImageDataset, rows: Features) -> None:
        super().__init__(images.samples, images.transform, decode=images.decode)
        self.rows = rows

    def image(self, index: int, content: bytes, *, seed: int | None = None) -> Tensor:
        """Return the row of an image, see `ImageDataset.image`.

        Raises:
            ValueError: If there is none of this content, for the file was replaced since.
        """
        row = self.rows.store.rows.get(hash_content(content))
        if row is None:
            raise ValueError(
                f"'{self.samples.paths[index]}' was changed while its features were computed. "
                "Start again when nothing writes to the images any more."
            )
        return self.rows.store.select(np.array([row]))[0]


def features_by_activations(
    backbone: Backbone, front: FrozenFront, images: ImageDataset, **options: Any
) -> Features:
    """Return the features of images, and keep the activations that they are computed from.

    Another network with the same frozen layers then needs a part of a pass. See `cached_features`,
    which gives the same features.

    Args:
        backbone: The network.
        front: Its frozen layers, with rows of ``fp32``.
        images: The data set, as in evaluation.
        **options: Of `cached_features`.

    Raises:
        NotKeptError: If the activations cannot be kept on the disk.
        ValueError: If an image is replaced meanwhile.
    """
    rows = cached_features(front, images, **options)
    behind = LayersBehind(backbone, front.cut)
    options |= {"num_workers": 0}  # Rows are mapped, and nothing is decoded.
    return cached_features(backbone, ActivationImages(images, rows), network=behind, **options)


def features_of_rows(
    backbone: Backbone, front: FrozenFront, rows: Features, *, batch_size: int = 32
) -> Tensor:
    """Return the features ``(N, num_features)`` of activations; they are not kept.

    Args:
        backbone: The network, of which ``front`` has the frozen layers.
        front: What has computed the rows.
        rows: The activations.
        batch_size: Number of images in a pass.
    """
    batches = torch.split(torch.arange(len(rows)), batch_size)
    with frozen_pass(LayersBehind(backbone, front.cut)) as features_of:
        return torch.cat([features_of(rows.select(batch)).float() for batch in batches])
