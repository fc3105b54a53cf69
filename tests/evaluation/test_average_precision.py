import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import multilabel_average_precision

from tltool.evaluation.average_precision import average_precision, mean_average_precision


def draw(ties, number=60, share=0.3):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(number, generator=generator)
    targets = (torch.rand(number, generator=generator) < share).long()
    return (scores * 6).round() if ties else scores, targets


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_that_of_scikit_learn(ties):
    scores, targets = draw(ties)
    expected = average_precision_score(targets, scores)
    assert average_precision(scores, targets)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_an_image_moves_average_precision_as_the_jackknife_says(ties):
    scores, targets = draw(ties)
    value, moves = average_precision(scores, targets)
    without = [
        average_precision_score(np.delete(targets.numpy(), n), np.delete(scores.numpy(), n))
        for n in range(len(scores))
    ]
    expected = (len(scores) - 1) * (value - np.array(without))
    assert moves.numpy() == pytest.approx(expected - expected.mean(), abs=1e-9)


def test_the_mean_is_over_the_classes_that_occur():
    scores = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    targets = (scores + 0.3 > torch.rand(40, 3, generator=torch.Generator().manual_seed(1))).long()
    targets[:, 2] = 0
    values, per_image = mean_average_precision(scores, targets)
    expected = multilabel_average_precision(scores[:, :2], targets[:, :2], 2)
    assert values[2].isnan()
    assert float(per_image.mean()) == pytest.approx(float(expected), abs=1e-6)


def test_an_only_image_of_a_class_moves_nothing_itself():
    value, moves = average_precision(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0, 1, 0]))
    assert value == 0.5
    assert moves.isfinite().all()
