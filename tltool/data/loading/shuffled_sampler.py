"""Sampler of the shuffled training images, with a seed for the augmentation of each."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import DistributedSampler

from tltool.data.loading.class_balance import class_balanced_positions


class Draw(NamedTuple):
    """One visit to one image: which, and the seed of its augmentation."""

    position: int
    seed: int


class ShuffledSampler(DistributedSampler[Draw]):
    """Shuffle by seed and epoch, and give each visit to an image its own seed.

    Order and augmentation are a function of (seed, epoch, image) alone: the same with any number of
    workers, after a resume, and in each global batch on any number of devices. Where the images are
    no multiple of the devices, the first ones of the epoch fill up the last batch.

    It is a ``DistributedSampler`` also on one device, for Lightning then leaves it in its place.

    Args:
        dataset: What is sampled; only its length is used.
        seed: Seed of the order and of the augmentation.
        world_size: Number of devices.
        rank: This device.
        reshuffle: Whether each epoch has an order and an augmentation of its own; without, all are
            like the first.
        labels: Labels of the images, to draw each class equally often, see
            `class_balanced_positions`; an image that comes twice has two seeds. ``None`` draws each
            image once.

    Example:
        >>> sampler = ShuffledSampler(range(4), seed=0)
        >>> sorted(draw.position for draw in sampler)
        [0, 1, 2, 3]
    """

    def __init__(
        self,
        dataset: Any,
        *,
        seed: int,
        world_size: int = 1,
        rank: int = 0,
        reshuffle: bool = True,
        labels: Sequence[int] | None = None,
    ) -> None:
        super().__init__(dataset, num_replicas=world_size, rank=rank, shuffle=True, seed=seed)
        self.reshuffle = reshuffle
        self.labels = labels

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the augmentation of an epoch."""
        super().set_epoch(epoch if self.reshuffle else 0)

    def __iter__(self) -> Iterator[Draw]:
        drawn = self._drawn()
        numbers: Iterator[Any] = super().__iter__()
        for number in numbers:
            yield Draw(drawn[number], draw_seed(self.seed, self.epoch, number))

    def _drawn(self) -> Sequence[int]:
        """Return the images of the epoch on all devices, before they are shuffled."""
        if self.labels is None:
            return range(self.total_size)  # Each number is that of an image.
        seed = draw_seed(self.seed, self.epoch, "class-balanced draws")
        generator = torch.Generator().manual_seed(seed)
        drawn: list[int] = class_balanced_positions(self.labels, generator).tolist()
        return drawn


def draw_seed(seed: int, epoch: int, what: int | str) -> int:
    """Return a seed for one visit to one image, or for another thing of an epoch.

    torch's CPU generator keeps 32 bits of its seed, so a packed number would collide; a hash does
    not.

    Example:
        >>> draw_seed(0, 0, 1) == draw_seed(0, 1, 0)
        False
    """
    digest = hashlib.blake2b(f"{seed} {epoch} {what}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
