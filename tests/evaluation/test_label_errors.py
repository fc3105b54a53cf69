"""Flipped labels are found, and copies do not vouch for each other."""

import pytest
import torch

from tltool.evaluation.label_errors import find_label_errors


@pytest.fixture
def clusters():
    """Features of three classes that are told apart, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(150) % 3
    centers = 6 * torch.eye(3, 16)
    return centers[labels] + torch.randn(150, 16, generator=generator), labels


def test_flipped_labels_are_listed_with_the_class_that_they_had(clusters):
    features, labels = clusters
    flipped = torch.tensor([3, 40, 77, 100])
    noisy = labels.clone()
    noisy[flipped] = (labels[flipped] + 1) % 3
    found = find_label_errors(features, noisy, 3)
    assert found.rows.sort().values.tolist() == flipped.tolist()
    assert found.suggested.tolist() == labels[found.rows].tolist()


def test_nothing_is_listed_where_all_labels_are_right(clusters):
    assert len(find_label_errors(*clusters, 3)) == 0


def test_images_between_classes_are_not_suspicious():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(150) % 3
    features = 2.5 * torch.eye(3, 16)[labels] + torch.randn(150, 16, generator=generator)
    found = find_label_errors(features, labels, 3)
    assert found.accuracy < 0.95  # Some are nearer to another class.
    assert len(found) <= 2


def test_the_most_suspicious_comes_first(clusters):
    features, labels = clusters
    labels[[3, 40, 77]] = (labels[[3, 40, 77]] + 1) % 3
    of_label = find_label_errors(features, labels, 3).of_label
    assert of_label.tolist() == of_label.sort().values.tolist()


def test_copies_with_one_wrong_label_do_not_vouch_for_each_other(clusters):
    features, labels = clusters
    copies = features[:1].repeat(30, 1)
    labels = torch.cat([labels, torch.full((30,), 2)])  # The image itself is of class 0.
    groups = torch.cat([torch.arange(150), torch.zeros(30, dtype=torch.long)])
    found = find_label_errors(torch.cat([features, copies]), labels, 3, groups)
    assert set(range(150, 180)) <= set(found.rows.tolist())


def test_labels_by_chance_say_that_the_probe_is_weak():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (80,), generator=generator)
    found = find_label_errors(torch.randn(80, 4, generator=generator), labels, 2)
    assert "many will be right" in found.describe(80)


def test_a_class_that_no_other_group_has_is_not_called_wrong(clusters):
    """Nobody else could have said it: all images of the class are left out together."""
    features, labels = clusters
    groups = torch.where(labels == 2, 0, torch.arange(150) + 1)
    alone = labels.clone()
    alone[7] = 3
    found = find_label_errors(features, alone, 4, groups)
    assert (len(found), found.num_untaught) == (0, 51)
    assert found.accuracy == 1
    assert "51 are the only ones of their class" in found.describe(150)
