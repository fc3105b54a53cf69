import torch
from sklearn.metrics import f1_score

from tltool.evaluation.thresholds import choose_thresholds


def test_no_other_threshold_has_a_higher_f1():
    probabilities = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    targets = (torch.rand(50, 2, generator=torch.Generator().manual_seed(1)) < probabilities).int()
    for label, threshold in enumerate(choose_thresholds(probabilities, targets)):
        column, truth = probabilities[:, label], targets[:, label].numpy()
        best = max(f1_score(truth, (column >= cut).int().numpy()) for cut in column)
        assert f1_score(truth, (column >= threshold).int().numpy()) == best


def test_a_class_that_no_image_has_keeps_one_half():
    assert choose_thresholds(torch.rand(4, 1), torch.zeros(4, 1)) == [0.5]


def test_images_of_one_probability_are_on_one_side():
    (threshold,) = choose_thresholds(torch.full((4, 1), 0.3), torch.tensor([[1], [0], [0], [0]]))
    assert 0 < threshold < 0.3
