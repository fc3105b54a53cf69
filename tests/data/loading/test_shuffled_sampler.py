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
