from collections import Counter

import pytest
import torch

from tltool.data.loading.class_balance import class_balanced_positions


def drawn(*counts, seed=0):
    """Return how often each image is drawn, for each class."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    generator = torch.Generator().manual_seed(seed)
    times = Counter(class_balanced_positions(labels, generator).tolist())
    numbers = iter(range(len(labels)))
    return [[times[next(numbers)] for _ in range(count)] for count in counts]


@pytest.mark.parametrize("counts", [(30, 4), (4, 30), (10, 10, 10), (50, 1, 9)])
def test_each_class_is_drawn_equally_often(counts):
    shares = [sum(times) for times in drawn(*counts)]
    assert shares == [sum(counts) // len(counts)] * len(counts)


@pytest.mark.parametrize("counts", [(30, 4), (7, 6, 1), (20, 20)])
def test_no_image_is_drawn_again_before_all_of_its_class_were(counts):
    assert all(max(times) - min(times) <= 1 for times in drawn(*counts))


def test_what_is_left_over_falls_to_any_class():
    larger = set()
    for seed in range(20):
        shares = [sum(times) for times in drawn(8, 1, 1, seed=seed)]
        assert sorted(shares) == [3, 3, 4]
        larger.add(shares.index(4))
    assert larger == {0, 1, 2}


def test_each_image_of_a_large_class_comes_in_some_epoch():
    first = torch.tensor([drawn(30, 2, seed=seed)[0] for seed in range(20)])
    assert first.sum(dim=0).min() > 0


def test_labels_without_images_are_left_out():
    generator = torch.Generator().manual_seed(0)
    assert sorted(class_balanced_positions([0, 5, 5, 5], generator).tolist())[:2] == [0, 0]
