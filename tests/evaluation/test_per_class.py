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
