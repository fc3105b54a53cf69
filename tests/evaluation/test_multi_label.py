import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_recall_fscore_support,
)

from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.paired_differences import judge

NAMES = ["ants", "bees", "wasps"]
THRESHOLDS = [0.4, 0.6, 0.5]


@pytest.fixture
def found():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(200, 3, generator=generator)
    targets = (probabilities + 0.6 * torch.randn(200, 3, generator=generator) > 0.6).long()
    return MultiLabelPredictions.of(probabilities, targets, THRESHOLDS)


def test_precision_recall_and_f1_are_those_of_scikit_learn_at_the_thresholds(found):
    said = found.probabilities >= torch.tensor(THRESHOLDS)
    expected = zip(*precision_recall_fscore_support(found.targets, said), strict=True)
    for each, values in zip(found.classes(NAMES), expected, strict=True):
        assert (each.precision, each.recall, each.f1, each.num_images) == pytest.approx(values)


def test_the_average_precision_of_each_class_is_that_of_scikit_learn(found):
    expected = average_precision_score(found.targets, found.probabilities, average=None)
    assert [each.average_precision for each in found.classes(NAMES)] == pytest.approx(expected)
    assert found.mean_average_precision == pytest.approx(expected.mean())


def test_exact_match_and_macro_f1_are_those_of_scikit_learn(found):
    said = found.predicted
    expected = accuracy_score(found.targets, said)
    assert float(found.exact.double().mean()) == pytest.approx(expected)
    assert found.macro_f1 == pytest.approx(f1_score(found.targets, said, average="macro"))


def test_the_interval_of_a_perfect_class_keeps_its_width():
    targets = torch.tensor([[1], [1], [0], [0]])
    (ants,) = MultiLabelPredictions.of(targets.double(), targets).classes(["ants"])
    assert ants.average_precision == 1
    assert ants.interval[0] < 0.4


def test_a_class_that_is_missed_where_another_is_said_is_counted():
    targets, said = torch.tensor([[1, 0], [0, 1]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert MultiLabelPredictions.of(said, targets).confused().tolist() == [[0, 1], [0, 0]]


def test_the_difference_of_two_networks_is_that_of_their_mean_average_precision(found):
    other = MultiLabelPredictions.of(found.probabilities.flip(0), found.targets)
    pair = {"a": found.per_image[None], "b": other.per_image[None]}
    (difference,) = judge(pair, "b")
    expected = found.mean_average_precision - other.mean_average_precision
    assert difference.estimate.mean == pytest.approx(expected)
    assert difference.is_finding


def test_the_worst_errors_come_first():
    targets = torch.tensor([[1, 0], [1, 0], [1, 0]])
    said = torch.tensor([[0.4, 0.1], [0.9, 0.1], [0.1, 0.9]])
    assert MultiLabelPredictions.of(said, targets).worst_errors() == [2, 0]


def test_names_of_several_classes_are_joined():
    found = MultiLabelPredictions.of(torch.tensor([[0.9, 0.1, 0.9]]), torch.tensor([[1, 1, 0]]))
    assert found.words(0, NAMES) == ("ants;wasps", "ants;bees")
