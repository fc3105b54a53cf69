import pytest

from tltool.data.loading.shuffled_sampler import ShuffledSampler, draw_seed


def draws(epoch=0, **kwargs):
    sampler = ShuffledSampler(range(12), **{"seed": 0, **kwargs})
    sampler.set_epoch(epoch)
    return list(sampler)


def test_each_image_is_drawn_once():
    assert sorted(draw.position for draw in draws()) == list(range(12))


def test_the_same_seed_draws_the_same():
    assert draws() == draws()


def test_another_seed_draws_another_order():
    assert draws() != draws(seed=5)


def test_another_epoch_draws_another_order_and_other_augmentation():
    positions = [draw.position for draw in draws()]
    assert positions != [draw.position for draw in draws(epoch=1)]
    assert not {draw.seed for draw in draws()} & {draw.seed for draw in draws(epoch=1)}


def test_two_devices_share_each_global_batch_of_one_device():
    shares = [draws(world_size=2, rank=rank) for rank in (0, 1)]
    assert {*shares[0][:2], *shares[1][:2]} == set(draws()[:4])


def test_seeds_of_a_thousand_draws_are_distinct():
    seeds = {draw_seed(s, epoch, p) for s in range(10) for epoch in range(10) for p in range(10)}
    assert len(seeds) == 1000


LABELS = [0] * 9 + [1] * 3


@pytest.mark.parametrize("epoch", [0, 1])
def test_balanced_draws_are_half_of_each_of_two_classes(epoch):
    labels = [LABELS[draw.position] for draw in draws(epoch, labels=LABELS)]
    assert sorted(labels) == [0] * 6 + [1] * 6
    assert labels[:6] not in ([0] * 6, [1] * 6)


def test_an_image_that_is_drawn_twice_has_two_seeds():
    found = draws(labels=LABELS)
    assert len({draw.seed for draw in found}) == 12
    assert len({draw.position for draw in found}) == 9


def test_another_epoch_draws_others_of_a_large_class():
    first, second = ({d.position for d in draws(epoch, labels=LABELS)} for epoch in (0, 1))
    assert first != second


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_devices_share_the_balanced_draws_of_one_device(world_size):
    shares = [draws(labels=LABELS, world_size=world_size, rank=rank) for rank in range(world_size)]
    in_turn = [draw for together in zip(*shares, strict=True) for draw in together]
    assert in_turn == draws(labels=LABELS)
