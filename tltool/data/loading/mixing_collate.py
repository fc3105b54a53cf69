"""Mixup and cutmix: the collate function of batches whose images are mixed."""

from collections.abc import Sequence
from typing import Any

import torch
from torchvision.transforms import v2

from tltool.data.loading.image_dataset import collate


class MixingCollate:
    """Make batches of mixed images.

    ``labels`` become the shares of each class, ``(B, num_classes)`` floats, which cross-entropy
    takes as they are. ``hard_labels`` ``(B,)`` name the class with the larger share, to measure
    accuracy against, of several classes those with more than half: no network can get all of them
    right, so it lies below that on plain images.
    Measured on 244 and 600 images in 6 epochs, neither brought accuracy, and cutmix cost some: they
    are for long training (`scripts/benchmark/README.md`, "Augmentation").

    Args:
        num_classes: Number of classes.
        mixup: Parameter of the Beta distribution of the share by which images are blended (Zhang et
            al., 2017, https://arxiv.org/abs/1710.09412); 0 turns it off, 0.2 is a usual value.
        cutmix: The same for the area of a rectangle that is taken from the other image (Yun et al.,
            2019, https://arxiv.org/abs/1905.04899); 1 is a usual value. With both, each batch draws
            one of the two.

    Example:
        >>> items = [{"image": torch.zeros(3, 2, 2), "path": "a.jpg", "label": 0},
        ...          {"image": torch.ones(3, 2, 2), "path": "b.jpg", "label": 1}]
        >>> batch = MixingCollate(2, mixup=0.2)(items)
        >>> batch["labels"].shape, batch["labels"].sum(dim=1)
        (torch.Size([2, 2]), tensor([1., 1.]))
    """

    def __init__(self, num_classes: int, *, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        self.mixers = [
            mixer(alpha=alpha, num_classes=num_classes)
            for mixer, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
            if alpha > 0
        ]

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the mixed batch; the seed of its first image decides how."""
        batch = collate(items)
        if "seed" not in items[0]:
            return self._mix(batch)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(items[0]["seed"])
            return self._mix(batch)

    def _mix(self, batch: dict[str, Any]) -> dict[str, Any]:
        mixer = self.mixers[int(torch.randint(len(self.mixers), ()))]
        images, labels = mixer(batch["images"], batch["labels"])
        several = batch["labels"].ndim == 2
        larger = (labels > 0.5).float() if several else labels.argmax(dim=1)
        return {**batch, "images": images, "labels": labels, "hard_labels": larger}


def check_alpha(value: float, *, name: str) -> None:
    """Raise unless the parameter of a Beta distribution is positive, or 0 for off.

    Example:
        >>> check_alpha(-1, name="mixup")
        Traceback (most recent call last):
        ...
        ValueError: `mixup` must be at least 0, got -1. Set --data.mixup 0.2, or 0 to turn it off.
    """
    if value < 0:
        raise ValueError(
            f"`{name}` must be at least 0, got {value}. Set --data.{name} 0.2, or 0 to turn it off."
        )
