"""Data loaders of one device: its share of each batch, and the place where a run resumes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from tltool.data.loading.batch_loader import BatchLoader, EpochBatches, shared_batches
from tltool.data.loading.batch_size import per_device_batch_size
from tltool.data.loading.image_dataset import Collate, ImageDataset, collate
from tltool.data.loading.num_workers import resolve_num_workers
from tltool.data.loading.shuffled_sampler import ShuffledSampler
from tltool.data.loading.worker_signals import pass_signals_by


@dataclass(frozen=True)
class DeviceShare:
    """What one device loads: its share of each batch, by workers of its own.

    Attributes:
        batch_size: Number of images in a batch, over all devices.
        num_workers: Number of processes that decode for this device.
        pin_memory: Whether batches go to a GPU.
        world_size: Number of devices.
        rank: This device.
    """

    batch_size: int
    num_workers: int
    pin_memory: bool = False
    world_size: int = 1
    rank: int = 0

    def training(
        self, dataset: ImageDataset, collate_fn: Collate, **order: Any
    ) -> DataLoader[dict[str, Any]]:
        """Return the loader of this device's images, in an order of `ShuffledSampler`."""
        sampler = ShuffledSampler(dataset, world_size=self.world_size, rank=self.rank, **order)
        batches = EpochBatches(sampler, self._own_batch_size)
        return self._loader(dataset, collate_fn, batch_sampler=batches)

    def evaluation(self, dataset: ImageDataset) -> BatchLoader:
        """Return the loader of this device's images, in order, each on one device only."""
        size, ranks = self._own_batch_size * self.world_size, self.world_size
        return self.of(
            dataset, shared_batches(len(dataset), size, world_size=ranks, rank=self.rank)
        )

    def of(self, dataset: ImageDataset, batches: Sequence[Sequence[int]]) -> BatchLoader:
        """Return the loader of these images, by their positions, batch by batch."""
        return BatchLoader(self._loader(dataset, collate, batch_sampler=batches))

    def whole(self, dataset: ImageDataset) -> DataLoader[dict[str, Any]]:
        """Return the loader of all images, in order, which Lightning may share out."""
        return self._loader(dataset, collate, batch_size=self._own_batch_size)

    @property
    def _own_batch_size(self) -> int:
        return per_device_batch_size(self.batch_size, self.world_size)

    def _loader(
        self, dataset: ImageDataset, collate_fn: Collate, **batches: Any
    ) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            dataset,
            collate_fn=collate_fn,
            num_workers=self.num_workers,
            worker_init_fn=pass_signals_by,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.pin_memory,
            **batches,
        )


def device_share(
    trainer: Trainer | None, *, batch_size: int, num_workers: int | None
) -> DeviceShare:
    """Return the share of this device of a Trainer; without one, everything.

    Args:
        trainer: The Trainer.
        batch_size: Number of images in a batch, over all devices.
        num_workers: See `resolve_num_workers`.
    """
    num_workers = resolve_num_workers(num_workers, trainer.num_devices if trainer else 1)
    if trainer is None:
        return DeviceShare(batch_size, num_workers)
    return DeviceShare(
        batch_size,
        num_workers,
        pin_memory=trainer.strategy.root_device.type == "cuda",
        world_size=trainer.world_size,
        rank=trainer.global_rank,
    )


def common_seed(trainer: Trainer | None) -> int:
    """Return the seed of this moment, the same on all ranks.

    Without `seed_everything` each rank has its own, and images would be seen twice.
    """
    seed = torch.initial_seed() % 2**63
    return trainer.strategy.broadcast(seed) if trainer else seed


def batches_done(trainer: Trainer | None) -> int:
    """Return how many batches of an epoch were trained before a resume in its middle.

    Counted by Lightning, not by the loader: a batch that was loaded when a signal wrote the
    checkpoint is not trained yet.
    """
    if trainer is None or not trainer.fit_loop.restarting:
        return 0
    # Not `epoch_loop.restarting`, which a validation in front of the next batch ends.
    return trainer.fit_loop.epoch_loop.batch_progress.current.ready
