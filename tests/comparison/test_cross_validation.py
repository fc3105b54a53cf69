import pytest
import torch

from tltool.comparison.cross_validation import cross_validation

LABELS = torch.tensor([0] * 60 + [1] * 30)


def test_each_image_is_tested_once_for_each_seed():
    splits = cross_validation(LABELS, [0, 1], num_folds=5)
    for position in (0, 1):
        tested = torch.cat([split.test for split in splits if split.seeds == (position,)])
        assert tested.sort().values.tolist() == list(range(90))


def test_training_tuning_and_test_split_have_no_image_in_common():
    for split in cross_validation(LABELS, [0], num_folds=5):
        rows = torch.cat([split.train, split.val, split.test])
        assert rows.sort().values.tolist() == list(range(90))


def test_folds_hold_the_classes_in_the_proportion_of_the_data():
    for split in cross_validation(LABELS, [0], num_folds=5):
        assert LABELS[split.test].bincount().tolist() == [12, 6]


def test_another_seed_has_other_folds():
    splits = cross_validation(LABELS, [0, 1], num_folds=5)
    assert splits[0].test.tolist() != splits[5].test.tolist()


def test_a_group_is_never_on_two_sides():
    groups = torch.arange(90) // 6
    for split in cross_validation(LABELS, [0], num_folds=3, groups=groups.tolist()):
        sides = [set(groups[rows].tolist()) for rows in (split.train, split.val, split.test)]
        assert sum(map(len, sides)) == len(set.union(*sides))


@pytest.mark.parametrize("of_class", [[3, 3], [2, 3, 4], [2, 2, 2]])
def test_groups_of_one_class_leave_no_fold_empty(of_class):
    labels = torch.arange(len(of_class)).repeat_interleave(torch.tensor(of_class))
    splits = cross_validation(labels, range(20), num_folds=4, groups=range(len(labels)))
    assert all(len(split.val) and len(split.test) for split in splits)


def test_a_tuning_fold_trains_where_nothing_is_chosen():
    split = cross_validation(LABELS, [0], num_folds=5, choose=False)[0]
    assert (len(split.train), len(split.val), len(split.test)) == (72, 0, 18)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 1] * 9, {"num_folds": 2}, "at least 3 folds.*one chooses.*--folds 5"),
        ([0] * 9 + [1] * 4, {"num_folds": 5}, "has 4 images.*--folds 4"),
        ([0, 1] * 9, {"num_folds": 3, "groups": [0, 1] * 9}, "2 groups are too few"),
    ],
)
def test_too_few_are_refused(labels, options, message):
    with pytest.raises(ValueError, match=message):
        cross_validation(torch.tensor(labels), [0], **options)
