import itertools

import pytest
from torch.utils.data import DataLoader

from tltool.data.loading.batch_loader import EpochBatches, TrainingLoader, shared_batches
from tltool.data.loading.shuffled_sampler import ShuffledSampler


class Draws:
    """Give each draw back, in place of its image."""

    def __getitem__(self, draw):
        return draw


def training_loader(done=0, num_images=10, batch_size=4, **options):
    sampler = ShuffledSampler(range(num_images), **{"seed": 0} | options)
    batches = EpochBatches(sampler, batch_size=batch_size)
    images = DataLoader(Draws(), batch_sampler=batches, collate_fn=lambda draws: {"draws": draws})
    return TrainingLoader(images, lambda: done)


def test_a_resumed_epoch_has_the_batches_that_are_left():
    assert list(training_loader(done=1)) == list(training_loader())[1:]


def test_the_length_is_that_of_the_whole_epoch():
    assert len(training_loader()) == len(training_loader(done=1)) == 3


def test_nothing_is_loaded_before_the_first_batch_is_asked_for():
    loader = training_loader()
    batches = iter(loader)  # Lightning does so before it tells the epoch.
    loader.batch_sampler.sampler.set_epoch(1)
    assert next(batches) == next(iter(loader)) != next(iter(training_loader()))


def test_each_batch_of_each_rank_epoch_and_seed_has_a_seed_of_its_own():
    seeds = set()
    for seed, rank, epoch in itertools.product(range(2), range(2), range(2)):
        loader = training_loader(seed=seed, rank=rank, world_size=2, num_images=20)
        loader.batch_sampler.sampler.set_epoch(epoch)
        seeds |= {batch["seed"] for batch in loader}
    assert len(seeds) == 2 * 2 * 2 * 3


def test_an_epoch_of_another_length_is_not_gone_on_with():
    loader = training_loader(done=1, num_images=14)
    loader.load_state_dict(training_loader().state_dict())
    with pytest.raises(ValueError, match=r"after 1 of the 3 batches.*has 4\. Resume with"):
        next(iter(loader))


def test_an_epoch_of_another_batch_size_and_the_same_length_is_not_gone_on_with():
    loader = training_loader(done=1, num_images=10, batch_size=3)
    loader.load_state_dict(training_loader(num_images=10, batch_size=4).state_dict())
    with pytest.raises(ValueError, match=r"3 batches.*of 4, and now, with 3.* has 3\. Resume with"):
        next(iter(loader))


def test_an_epoch_of_the_same_batch_size_on_more_devices_is_gone_on_with():
    loader = training_loader(done=1, num_images=12, batch_size=2, world_size=2)
    loader.load_state_dict(training_loader(num_images=12).state_dict())
    assert len(list(loader)) == 2


def test_a_checkpoint_that_knows_no_batch_size_is_gone_on_with():
    loader = training_loader(done=1)
    loader.load_state_dict({"length": 3})
    assert len(list(loader)) == 2


def test_an_epoch_of_another_length_is_begun():
    loader = training_loader(num_images=14)
    loader.load_state_dict(training_loader().state_dict())
    assert len(list(loader)) == 4


def test_to_overfit_each_epoch_is_like_the_first():
    loader = training_loader(reshuffle=False)
    first = list(loader)
    loader.batch_sampler.sampler.set_epoch(5)
    assert list(loader) == first


@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 9, 23])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_see_each_image_once_in_as_many_batches(size, world_size):
    shares = [
        shared_batches(size, 3 * world_size, world_size=world_size, rank=rank)
        for rank in range(world_size)
    ]
    assert sorted(index for share in shares for batch in share for index in batch) == [*range(size)]
    assert len({len(share) for share in shares}) == 1
    assert all(len(batch) <= 3 for share in shares for batch in share)


def test_a_last_batch_of_one_image_is_left_to_other_epochs():
    sampler = ShuffledSampler(range(9), seed=0)
    batches = EpochBatches(sampler, batch_size=4)
    seen = set()
    for epoch in range(8):
        sampler.set_epoch(epoch)
        shares = list(batches)
        assert [len(share) for share in shares] == [4, 4]
        assert len(batches) == 2
        seen |= {draw.position for share in shares for draw in share}
    assert seen == set(range(9))
