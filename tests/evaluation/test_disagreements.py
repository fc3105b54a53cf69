"""Images that two networks predict differently."""

import dataclasses

import pytest
import torch

from tltool.evaluation.disagreements import find_disagreements
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.predictions import PredictionSet
from tltool.evaluation.regression import RegressionPredictions


@pytest.fixture
def split(measured_split):
    """Return a function that makes a split of three images, by what is predicted of them."""

    def make(predictions, order=(0, 1, 2)):
        names = [f"{number}.png" for number in order]
        whole = measured_split(run=50, probe=50)
        return dataclasses.replace(whole, predictions=predictions, names=names, paths=names)

    return make


def single(probabilities):
    return PredictionSet.from_probabilities(torch.tensor(probabilities), torch.tensor([0, 0, 0]))


def test_the_surest_disagreement_is_the_first(split):
    first = split(single([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]]))
    second = split(single([[0.9, 0.1], [0.1, 0.9], [0.3, 0.7]]))
    found = find_disagreements(first, second)
    assert [(each.first, each.size) for each in found] == [
        (2, pytest.approx(1.4)),
        (1, pytest.approx(1.2)),
    ]


def test_images_in_another_order_are_paired_by_name(split):
    first = split(single([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]]))
    second = split(single([[0.9, 0.1], [0.7, 0.3], [0.8, 0.2]]), order=(2, 1, 0))
    assert [each[:2] for each in find_disagreements(first, second)] == [(2, 0)]


def test_of_several_classes_the_number_of_those_that_one_says_alone_counts(split):
    targets = torch.zeros(3, 2)
    first = MultiLabelPredictions.of(torch.tensor([[0.9, 0.9], [0.9, 0.1], [0.1, 0.1]]), targets)
    second = MultiLabelPredictions.of(torch.tensor([[0.1, 0.1], [0.9, 0.8], [0.2, 0.3]]), targets)
    found = find_disagreements(split(first), split(second))
    assert [(each.first, each.size) for each in found] == [(0, 2), (1, 1)]


def test_numbers_are_as_far_apart_as_they_are(split):
    targets = torch.tensor([1.0, 2.0, 3.0])
    first = RegressionPredictions.of(torch.tensor([1.0, 2.0, 3.0]), targets)
    second = RegressionPredictions.of(torch.tensor([1.5, 2.0, 0.0]), targets)
    found = find_disagreements(split(first), split(second))
    assert [(each.first, each.size) for each in found] == [(2, 3.0), (0, 0.5)]


def test_predictions_of_other_images_are_refused(split):
    even = single([[0.9, 0.1]] * 3)
    with pytest.raises(ValueError, match="Give two that were measured on the same ones"):
        find_disagreements(split(even), split(even, order=(0, 1, 3)))
