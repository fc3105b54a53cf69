import pytest
import torch
from sklearn.metrics import average_precision_score

from tltool.evaluation.baselines import (
    FREQUENCIES,
    MAJORITY,
    MEAN,
    MEDIAN,
    PROBE,
    compare_with_baselines,
    constant_baselines,
)
from tltool.evaluation.score import MAE
from tltool.evaluation.verdict import Mark, answer


def test_the_frequencies_of_classes_have_the_average_precision_of_chance():
    targets = torch.tensor([[1, 0], [1, 1], [0, 0], [1, 0]])
    found = constant_baselines(targets, targets, "multi_label")[FREQUENCIES]
    constant = targets.double().mean(dim=0).expand(4, -1)
    expected = average_precision_score(targets, constant, average="macro")
    assert float(found.mean()) == pytest.approx(expected)


def test_the_median_and_the_mean_are_those_of_training():
    train, test = torch.tensor([0.0, 0.0, 9.0]), torch.tensor([1.0, 3.0])
    found = constant_baselines(train, test, "regression")
    errors = {name: each.tolist() for name, each in found.items()}
    assert errors == {MEDIAN: [1.0, 3.0], MEAN: [2.0, 0.0]}


def test_the_majority_class_is_right_for_its_images():
    labels = torch.tensor([0, 1, 1])
    found = constant_baselines(labels, labels, "single_label")
    assert found[MAJORITY].tolist() == [False, True, True]


def test_a_smaller_error_than_all_baselines_is_a_yes():
    errors = torch.full((50,), 0.1) + torch.arange(50) / 1000
    baselines = {MEDIAN: errors + 1, MEAN: errors + 2, PROBE: errors + 0.5 + torch.rand(50) / 100}
    found = compare_with_baselines(errors, baselines, score=MAE)
    assert answer(found)[0] == Mark.YES


def test_an_error_as_large_as_that_of_the_best_constant_is_a_no():
    errors = torch.arange(50) / 50
    baselines = {MEDIAN: errors, MEAN: errors + 1, PROBE: errors + 1}
    found = compare_with_baselines(errors, baselines, score=MAE)
    assert answer(found) == (
        Mark.NO,
        "No: it is not provably better than always saying the median of training.",
    )
