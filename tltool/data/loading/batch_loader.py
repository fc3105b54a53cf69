"""Data loaders that resume in the middle of an epoch and share images exactly between ranks."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Sampler

from tltool.data.loading.batch_size import batches_per_epoch
from tltool.data.loading.shuffled_sampler import Draw, ShuffledSampler, draw_seed
from tltool.data.loading.worker_signals import signals_blocked


class BatchLoader:
    """The batches of a ``DataLoader`` that has a batch sampler of its own.

    Lightning replaces the samplers of a ``DataLoader``, and calls its ``iter`` before the epoch has
    begun. Of any other iterable it takes the batches, and here nothing happens before the first
    one is asked for.

    Args:
        images: Loads, decodes and collates.

    Attributes:
        substitute: Other batches of the same images in the same order, such as of their features;
            where there are any, no image is read.

    Example:
        >>> loader = BatchLoader(DataLoader([3, 5, 7], batch_sampler=[[0, 1], [2]]))
        >>> len(loader), list(loader)
        (2, [tensor([3, 5]), tensor([7])])
    """

    def __init__(self, images: DataLoader[Any]) -> None:
        self.images = images
        self.batch_sampler = images.batch_sampler  # Lightning tells its sampler the epoch.
        self.substitute: Iterable[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Any]:
        if self.substitute is not None:
            yield from self.substitute
            return
        with signals_blocked():
            batches = iter(self.images)
        yield from batches

    @property
    def _iterator(self) -> Any:
        return self.images._iterator

    @_iterator.setter
    def _iterator(self, value: Any) -> None:
        # Lightning ends persistent workers through this attribute after a run.
        self.images._iterator = value


class TrainingLoader(BatchLoader):
    """The batches of an epoch, or after a resume in its middle, those that are left.

    Batches that were trained before are skipped by their number: no image of theirs is decoded.
    Each batch carries a ``seed``, see `EpochBatches.seed`.

    Args:
        images: Loads, decodes and collates; its batch sampler is an `EpochBatches`.
        batches_done: Tells how many batches of the epoch to skip. It is asked when the first batch
            is asked for.

    Raises:
        ValueError: When the first batch is asked for, if the checkpoint was written in the middle
            of an epoch of another length or batch size.
    """

    batch_sampler: "EpochBatches"

    def __init__(
        self, images: DataLoader[Any], batches_done: Callable[[], int] = lambda: 0
    ) -> None:
        super().__init__(images)
        self.batches_done = batches_done
        self._before: dict[str, int] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        first = self.batches_done()
        now = self.state_dict()
        before = {**now, **self._before}  # Older checkpoints have the length alone.
        if first and before != now:
            raise ValueError(
                f"The checkpoint was written after {first} of the {before['length']} batches of an "
                f"epoch, with a `batch_size` of {before['batch_size']}, and now, with "
                f"{now['batch_size']}, an epoch has {now['length']}. Resume with the same images "
                "and `batch_size`, or from a checkpoint of the end of an epoch."
            )
        self.batch_sampler.first = first
        for number, batch in enumerate(super().__iter__(), start=first):
            yield {**batch, "seed": self.batch_sampler.seed(number)}

    def state_dict(self) -> dict[str, int]:
        """Return the length of an epoch, and the number of images in a batch of all devices.

        How much of it is done, Lightning's progress says; the seed is the datamodule's.
        """
        num_devices = self.batch_sampler.sampler.num_replicas
        return {"length": len(self), "batch_size": self.batch_sampler.batch_size * num_devices}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Note of what length and batch size the epoch of a checkpoint was."""
        self._before = state_dict


class EpochBatches(Sampler[list[Draw]]):
    """The batches of one rank in an epoch, from the one with the number ``first`` on.

    See `batches_per_epoch` for the last one.

    Args:
        sampler: The order of the rank's images.
        batch_size: Number of images in a batch of the rank.

    Example:
        >>> batches = EpochBatches(ShuffledSampler(range(5), seed=0), batch_size=3)
        >>> [[draw.position for draw in batch] for batch in batches]
        [[4, 0, 1], [3, 2]]
        >>> batches.first = 1
        >>> [[draw.position for draw in batch] for batch in batches]
        [[3, 2]]
    """

    def __init__(self, sampler: ShuffledSampler, batch_size: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.first = 0

    def __len__(self) -> int:
        return batches_per_epoch(len(self.sampler), self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        draws = list(self.sampler)
        for number in range(self.first, len(self)):
            yield draws[number * self.batch_size : (number + 1) * self.batch_size]

    def seed(self, number: int) -> int:
        """Return the seed of what a training step draws, such as dropout.

        A function of (seed, epoch, batch, rank), so that a resumed step draws what it would have.
        """
        what = f"batch {number} of rank {self.sampler.rank}"
        return draw_seed(self.sampler.seed, self.sampler.epoch, what)


def shared_batches(
    num_images: int, batch_size: int, *, world_size: int = 1, rank: int = 0
) -> list[list[int]]:
    """Return the positions of the images in each batch of a rank: each image once over all ranks.

    Every rank has as many batches as the others, or they would wait in DDP's forward pass for one
    that is done; a last batch may thus be empty.

    Args:
        num_images: How many images the ranks share.
        batch_size: Number of images in a batch, over all ranks.
        world_size: Number of ranks.
        rank: This rank.

    Example:
        >>> [shared_batches(7, 4, world_size=2, rank=rank) for rank in (0, 1)]
        [[[0, 2], [4, 6]], [[1, 3], [5]]]
        >>> [shared_batches(1, 4, world_size=2, rank=rank) for rank in (0, 1)]
        [[[0]], [[]]]
    """
    starts = range(0, num_images, batch_size)
    batches = [range(num_images)[start : start + batch_size] for start in starts]
    return [list(batch[rank::world_size]) for batch in batches]
