import itertools
from collections import Counter

import pytest

from tltool.data.datamodules.stratified_split import (
    check_fractions,
    split_by_group,
    split_stratified,
)

NAMES = [f"{label}/{index}.jpg" for label in "abc" for index in range(20)]
LABELS = [0] * 20 + [1] * 20 + [2] * 20


def stratified(names=NAMES, labels=LABELS, *, val_fraction=0.25, seed=0):
    split = split_stratified(names, labels, {"val": val_fraction}, seed=seed)
    return split["train"], split["val"]


def test_each_image_is_on_one_side():
    train, val = stratified()
    assert sorted(train + val) == list(range(60))


def test_each_class_gives_the_same_fraction():
    _, val = stratified()
    assert Counter(LABELS[index] for index in val) == {0: 5, 1: 5, 2: 5}


def test_the_same_seed_gives_the_same_split():
    assert stratified() == stratified()


def test_another_seed_gives_another_split():
    assert stratified() != stratified(seed=1)


@pytest.mark.parametrize("val_fraction", [0.01, 0.99])
def test_each_class_keeps_an_image_on_both_sides(val_fraction):
    train, val = stratified(["a/1", "a/2", "b/1", "b/2"], [0, 0, 1, 1], val_fraction=val_fraction)
    assert (len(train), len(val)) == (2, 2)


def test_an_image_more_moves_at_most_one_other():
    before = {NAMES[index] for index in stratified()[1]}
    names, labels = [*NAMES, "a/new.jpg"], [*LABELS, 0]
    after = {names[index] for index in stratified(names, labels)[1]}
    assert len(before - after) <= 1


def test_images_more_of_a_class_move_none_of_another():
    before = {NAMES[index] for index in stratified()[1] if LABELS[index]}
    names, labels = [*NAMES, *(f"a/new{i}.jpg" for i in range(30))], [*LABELS, *[0] * 30]
    assert {names[index] for index in stratified(names, labels)[1] if labels[index]} == before


@pytest.mark.parametrize("seed", range(5))
def test_images_more_move_old_ones_in_one_direction_only(seed):
    before = {NAMES[index] for index in stratified(seed=seed)[1]}
    names, labels = [*NAMES, *(f"a/new{i}.jpg" for i in range(30))], [*LABELS, *[0] * 30]
    after = {names[index] for index in stratified(names, labels, seed=seed)[1]} & set(NAMES)
    assert after <= before or after >= before


def test_composed_and_decomposed_accents_split_alike():
    composed, decomposed = ([f"{accent}{i}" for i in range(20)] for accent in ("\u00e9", "e\u0301"))
    assert stratified(composed, [0] * 20) == stratified(decomposed, [0] * 20)


def test_a_test_split_leaves_the_validation_images_where_they_are():
    fractions = {"val": 0.25, "test": 0.1}
    split = split_stratified(NAMES, LABELS, fractions, seed=0)
    assert split["val"] == stratified()[1]
    assert Counter(LABELS[index] for index in split["test"]) == {0: 2, 1: 2, 2: 2}
    assert sorted(sum_of(split)) == list(range(60))


def test_three_images_of_a_class_give_one_to_each_split():
    fractions = {"val": 0.9, "test": 0.05}
    split = split_stratified(["a", "b", "c"], [0, 0, 0], fractions, seed=0)
    assert [len(indices) for indices in split.values()] == [1, 1, 1]


def sum_of(split):
    return itertools.chain(*split.values())


@pytest.mark.parametrize("val_fraction", [0, 1, -0.1, 20])
def test_a_fraction_outside_zero_and_one_is_refused(val_fraction):
    with pytest.raises(ValueError, match=r"Set --data.val_fraction 0.2"):
        check_fractions({"val": val_fraction})


def test_fractions_must_leave_something_to_train_on():
    with pytest.raises(ValueError, match=r"train on, got val_fraction 0.5, test_fraction 0.5"):
        check_fractions({"val": 0.5, "test": 0.5})


GROUPS = [str(index // 5) for index in range(200)]
GROUP_LABELS = [index % 2 for index in range(200)]


def by_group(groups=GROUPS, labels=GROUP_LABELS, seed=0, **fractions):
    return split_by_group(groups, labels, fractions or {"val": 0.2, "test": 0.1}, seed=seed)


def test_groups_stay_together():
    groups = [{GROUPS[index] for index in split} for split in by_group().values()]
    assert sum(len(split) for split in groups) == len(set(GROUPS))


def test_each_image_of_a_group_is_in_one_split():
    assert sorted(sum_of(by_group())) == list(range(200))


def test_splits_have_their_fraction_of_the_images():
    assert {name: len(split) for name, split in by_group().items()} == {
        "val": 40,
        "test": 20,
        "train": 140,
    }


def test_another_seed_moves_other_groups():
    assert by_group() != by_group(seed=1)


def test_a_split_gets_the_mix_of_classes_of_the_whole():
    labels = [index // 5 % 2 for index in range(200)]
    splits = [by_group(labels=labels, seed=seed)["val"] for seed in range(20)]
    shares = [sum(labels[index] for index in split) / len(split) for split in splits]
    assert sum(abs(share - 0.5) for share in shares) / 20 < 0.06  # 0.125 without a choice


def test_each_split_gets_a_group_of_three():
    splits = by_group(["a"] * 50 + ["b"] * 30 + ["c"] * 20, [0] * 100)
    assert all(splits.values())


def test_fewer_groups_than_splits_are_refused():
    with pytest.raises(ValueError, match="2 groups cannot be split into train, val, test"):
        by_group(["a", "b"], [0, 1])


def split_sizes(*sizes, seed, **fractions):
    """Return the size of each split of groups of these sizes, each with two classes in balance."""
    groups = [str(group) for group, size in enumerate(sizes) for _ in range(size)]
    splits = by_group(groups, [i % 2 for i in range(sum(sizes))], seed, **fractions)
    return {split: len(indices) for split, indices in splits.items()}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sizes", [(400, 50, 50, 40, 60), (700, *[10] * 30), (50, 50, 40, 60, 400)])
def test_a_group_larger_than_what_a_split_needs_is_passed_over(sizes, seed):
    needed = 0.2 * sum(sizes)
    assert 0.5 * needed <= split_sizes(*sizes, seed=seed, val=0.2)["val"] <= 1.5 * needed


@pytest.mark.parametrize("seed", range(8))
def test_a_large_group_is_left_to_train_where_two_splits_are_taken(seed):
    sizes = split_sizes(400, 50, 50, 40, seed=seed, val=0.2, test=0.1)
    assert sizes["train"] >= 400


@pytest.mark.parametrize("seed", range(8))
def test_of_two_groups_the_larger_trains(seed):
    assert split_sizes(400, 50, seed=seed, val=0.2) == {"val": 50, "train": 400}


@pytest.mark.parametrize("seed", range(8))
def test_where_all_groups_are_too_large_a_split_gets_one_that_is_much_smaller(seed):
    assert split_sizes(900, 250, 850, seed=seed, val=0.1)["val"] == 250


def test_where_no_group_is_much_smaller_the_mix_of_classes_decides():
    groups = [group for group, size in {"a": 12, "b": 11, "c": 10}.items() for _ in range(size)]
    labels = [0, 1] * 6 + [0] * 11 + [1] * 10
    vals = [by_group(groups, labels, seed, val=0.1)["val"] for seed in range(8)]
    assert list(range(12)) in vals


def test_many_groups_beside_a_large_one_make_up_a_split():
    sizes = split_sizes(40_000, *[1] * 20_000, seed=0, val=0.2)
    assert sizes["val"] == 12_000
