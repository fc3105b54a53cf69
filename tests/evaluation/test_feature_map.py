import torch
from sklearn.decomposition import PCA

from tltool.evaluation.feature_map import map_features

FEATURES = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7) + 9


def test_the_map_is_that_of_scikit_learn():
    reference = PCA(2).fit(FEATURES.double())
    points = torch.tensor(reference.transform(FEATURES.double())).float()
    found = map_features(FEATURES, range(30))
    torch.testing.assert_close(found.points.abs(), points.abs(), atol=1e-4, rtol=1e-4)
    assert abs(found.explained - reference.explained_variance_ratio_.sum()) < 1e-6


def test_features_in_another_order_give_the_same_map():
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    shuffled = map_features(FEATURES[order], order.tolist()).points
    torch.testing.assert_close(shuffled, map_features(FEATURES, range(30)).points[order])


def test_images_that_are_all_alike_lie_in_one_place():
    found = map_features(torch.ones(3, 4), range(3))
    assert (found.points.tolist(), found.explained) == ([[0.0, 0.0]] * 3, 0.0)


def test_one_image_has_a_place():
    assert map_features(torch.ones(1, 4), [0]).points.shape == (1, 2)
