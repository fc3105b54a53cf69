"""Sampler of the shuffled training images, with a seed for the augmentation of each."""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch.utils.data import DistributedSampler


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

    Example:
        >>> sampler = ShuffledSampler(range(4), seed=0)
        >>> sorted(draw.position for draw in sampler)
        [0, 1, 2, 3]
    """

    def __init__(
        self, dataset: Any, *, seed: int, world_size: int = 1, rank: int = 0, reshuffle: bool = True
    ) -> None:
        super().__init__(dataset, num_replicas=world_size, rank=rank, shuffle=True, seed=seed)
        self.reshuffle = reshuffle

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the augmentation of an epoch."""
        super().set_epoch(epoch if self.reshuffle else 0)

    def __iter__(self) -> Iterator[Draw]:
        positions: Iterator[Any] = super().__iter__()
        for position in positions:
            yield Draw(position, draw_seed(self.seed, self.epoch, position))


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
