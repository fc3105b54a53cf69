import pytest
import torch

from tltool.diagnostics.advice.backbone_ranking import Suitability, measure_suitability
from tltool.diagnostics.advice.logme import logme


def test_it_is_the_probes_accuracy_on_new_images_and_logme_of_the_training_images():
    labels = torch.tensor([0, 1]).repeat(20)
    features = labels[:, None] + 0.1 * torch.randn(40, 3)
    found = measure_suitability((features, labels), (features[:8], 1 - labels[:8]), 2)
    assert (found.accuracy, found.num_images) == (0.0, 8)
    assert found.logme == logme(features, labels, 2)


def test_the_standard_error_is_that_of_a_share():
    assert Suitability(0.9, 100, 0.0).standard_error == pytest.approx(0.03)


def test_a_probe_that_is_right_on_all_images_is_not_certain():
    assert Suitability(1.0, 50, 0.0).standard_error == pytest.approx(0.03)


def test_of_equal_accuracies_the_larger_logme_is_better():
    first, second, third = (
        Suitability(0.9, 10, 1.0),
        Suitability(0.9, 10, 2.0),
        Suitability(1, 10, 0),
    )
    assert sorted([first, second, third], key=lambda one: one.order) == [third, second, first]
