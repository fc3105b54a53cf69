"""Averages of weights keep what they are made of, and refuse what cannot be averaged."""

import pytest
import torch

from tltool.models.weight_averaging import (
    average_weights,
    differing_tensors,
    greedy_soup,
    interpolate_weights,
)


def state(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 5, generator=generator).to(dtype)
    mask = torch.tensor([0.0, -torch.inf])
    return {"weight": weight, "count": torch.tensor(seed), "mask": mask, "zero": -torch.zeros(1)}


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        kind = torch.int64 if tensor.dtype == torch.int64 else torch.uint8
        assert torch.equal(found[name].view(kind), tensor.view(kind))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("share", [0, 1])
def test_the_ends_of_a_line_are_the_networks_bit_for_bit(share, dtype):
    states = [state(1, dtype), state(2, dtype)]
    assert_same_bits(interpolate_weights(*states, share), states[share])


def test_a_soup_of_one_is_itself_bit_for_bit():
    assert_same_bits(average_weights([state(1)]), state(1))


def test_a_point_on_the_line_is_rounded_once():
    start, end = {"x": torch.tensor([1.0])}, {"x": torch.tensor([1e-8])}
    expected = torch.tensor(0.1 + 0.9e-8, dtype=torch.float64).float()
    assert interpolate_weights(start, end, 0.9)["x"].item() == expected.item()


def test_integers_are_those_of_the_last_and_equal_tensors_stay():
    found = average_weights([state(1), state(2), state(7)])
    assert found["count"] == 7
    assert torch.equal(found["mask"], state(1)["mask"])


def test_the_mean_of_several_is_their_mean():
    weights = torch.stack([state(seed)["weight"] for seed in (1, 2, 3)])
    found = average_weights([state(seed) for seed in (1, 2, 3)])["weight"]
    torch.testing.assert_close(found, weights.mean(dim=0))


@pytest.mark.parametrize(
    "change",
    [{"weight": torch.zeros(3, 4)}, {"other": torch.zeros(1)}, {"count": torch.tensor(1.0)}],
)
def test_another_shape_name_or_type_is_refused(change):
    with pytest.raises(ValueError, match=r"different architectures .* one backbone and one head"):
        average_weights([state(1), {**state(2), **change}])


def test_weights_that_are_no_numbers_are_refused_by_name():
    broken = {**state(2), "weight": torch.full((3, 5), torch.nan)}
    with pytest.raises(ValueError, match=r"'weight' holds NaN or infinity"):
        interpolate_weights(state(1), broken, 0.5)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_beyond_the_line_is_refused(share):
    with pytest.raises(ValueError, match=r"in \[0, 1\], got"):
        interpolate_weights(state(1), state(2), share)


@pytest.mark.parametrize("seed", range(5))
def test_a_greedy_soup_is_never_worse_than_its_best_ingredient(seed):
    points = torch.randn(6, 2, generator=torch.Generator().manual_seed(seed))

    def score(chosen):
        return -float(points[list(chosen)].mean(dim=0).norm())

    alone = [score([each]) for each in range(6)]
    assert score(greedy_soup(6, score)) >= max(alone)


def test_what_differs_is_found_bit_for_bit():
    assert differing_tensors([state(1), state(2)]) == {"weight", "count"}
