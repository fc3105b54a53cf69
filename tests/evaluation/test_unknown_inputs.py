"""The distance to the nearest class is that of the covariance, and unknown classes score higher."""

import pytest
import sklearn.covariance as reference
import torch

from tltool.evaluation.unknown_inputs import (
    fit_feature_distance,
    fit_unknown_score,
    ledoit_wolf_shrinkage,
)


def classes_of(number, width=20, seed=0):
    """Return features of some classes, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(200) % number
    spread = torch.linspace(0.5, 2, width)
    return 4 * torch.eye(number, width)[labels] + spread * torch.randn(
        200, width, generator=generator
    ), labels


def expected_distance(features, labels, rows):
    """Compute the same with an inverse of the whole matrix."""
    x = features.double()
    means = torch.stack([x[labels == label].mean(dim=0) for label in labels.unique()])
    centered = x - means[labels]
    width = x.shape[1]
    shrinkage = ledoit_wolf_shrinkage(centered)
    covariance = centered.T @ centered / len(x)
    average = covariance.trace() / width
    covariance = (1 - shrinkage) * covariance + shrinkage * average * torch.eye(width)
    difference = rows.double()[:, None] - means
    found = torch.einsum("ncd,de,nce->nc", difference, covariance.inverse(), difference)
    return (found.min(dim=1).values / width).float()


def test_the_distance_is_that_of_the_shrunk_covariance():
    features, labels = classes_of(3)
    rows = 3 * torch.randn(9, 20, generator=torch.Generator().manual_seed(1))
    found = fit_feature_distance(features, labels).score(rows)
    torch.testing.assert_close(found, expected_distance(features, labels, rows), rtol=1e-3, atol=0)


def test_the_distance_is_the_same_with_fewer_images_than_features():
    features, labels = classes_of(3, width=300)
    rows = 3 * torch.randn(9, 300, generator=torch.Generator().manual_seed(1))
    found = fit_feature_distance(features, labels).score(rows)
    torch.testing.assert_close(found, expected_distance(features, labels, rows), rtol=1e-3, atol=0)


def test_the_shrinkage_is_that_of_scikit_learn():
    features = classes_of(1)[0].double()
    centered = features - features.mean(dim=0)
    expected = reference.ledoit_wolf_shrinkage(centered.numpy(), assume_centered=True)
    assert abs(ledoit_wolf_shrinkage(centered) - expected) < 1e-6


def test_images_of_another_class_score_higher_where_the_network_is_as_sure():
    features, labels = classes_of(4)
    known, sure = labels < 3, torch.tensor([[0.9, 0.05, 0.05]])
    distance = fit_feature_distance(features[known][:100], labels[known][:100])
    rest = features[known][100:]
    score = fit_unknown_score(distance, rest, sure.expand(len(rest), 3))
    other = features[~known]
    high = score.score(other, sure.expand(len(other), 3))
    assert high.median() > score.score(rest, sure.expand(len(rest), 3)).quantile(0.9)


def test_images_between_classes_score_higher_where_they_are_as_near():
    features, labels = classes_of(3)
    distance = fit_feature_distance(features, labels)
    probabilities = torch.tensor([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1]]).repeat(100, 1)
    score = fit_unknown_score(distance, features, probabilities)
    unsure = torch.full((200, 3), 1 / 3)
    assert bool((score.score(features, unsure) > score.score(features, probabilities)).all())


def test_what_is_far_from_all_is_unknown_however_sure_the_network_is():
    """Of a hard task known images have doubts, and a saturated output has none at all."""
    features, labels = classes_of(3)
    distance = fit_feature_distance(features[:100], labels[:100])
    unsure = torch.rand(100, generator=torch.Generator().manual_seed(2)) * 0.2 + 0.4
    probabilities = torch.stack([unsure, 1 - unsure], dim=1)
    score = fit_unknown_score(distance, features[100:], probabilities)
    far, sure = torch.full((1, 20), 400.0), torch.tensor([[1.0, 0.0]])
    assert score.score(far, sure) > score.score(features[100:], probabilities).max()


def test_features_that_are_not_finite_are_refused_with_their_number():
    features, labels = classes_of(3)
    features[5] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity for 1 of 200 images"):
        fit_feature_distance(features, labels)
