import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from tltool.evaluation.confusion import confusion_matrix
from tltool.evaluation.per_class import class_metrics
from tltool.evaluation.predictions import PredictionSet


def test_the_metrics_of_each_class_are_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    labels, predicted = torch.randint(4, (2, 200), generator=generator)
    found = class_metrics(confusion_matrix(labels, predicted, 4), list("abcd"))
    expected = precision_recall_fscore_support(labels, predicted)
    for index, values in enumerate(zip(*expected, strict=True)):
        each = found[index]
        assert (each.precision, each.recall, each.f1, each.num_images) == pytest.approx(values)


def test_a_class_without_an_image_has_zeros():
    _, bees = class_metrics(torch.tensor([[2, 0], [0, 0]]), ["ants", "bees"])
    assert (bees.precision, bees.recall, bees.f1, bees.confused_with) == (0, 0, 0, "")


def test_the_confidence_of_a_class_is_the_mean_over_its_images():
    probabilities = torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]])
    found = PredictionSet.from_probabilities(probabilities, torch.tensor([0, 0, 1]))
    assert [each.confidence for each in found.classes(["a", "b"])] == pytest.approx([0.8, 0.8])


def test_the_metrics_of_very_many_classes_are_those_of_a_full_matrix():
    labels, predicted = torch.tensor([0, 1, 1, 1, 1500]), torch.tensor([0, 0, 0, 1, 1])
    names = [str(number) for number in range(1501)]
    counts = confusion_matrix(labels, predicted, 1501)
    assert counts.is_sparse
    assert class_metrics(counts, names) == class_metrics(counts.to_dense(), names)


def test_the_memory_of_a_confusion_matrix_is_not_that_of_its_cells():
    labels = torch.arange(200_000)
    assert confusion_matrix(labels, labels, 200_000).values().numel() == 200_000
