import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from tltool.evaluation import neighbors
from tltool.evaluation.neighbors import nearest_neighbors

GENERATOR = torch.Generator().manual_seed(0)
QUERIES, FEATURES = (torch.randn(n, 8, generator=GENERATOR) for n in (5, 40))


@pytest.mark.parametrize("rows", [7, 1000])
def test_neighbors_are_those_of_scikit_learn(monkeypatch, rows):
    monkeypatch.setattr(neighbors, "_ROWS", rows)
    search = NearestNeighbors(n_neighbors=6, metric="cosine").fit(FEATURES)
    distances, indices = search.kneighbors(QUERIES)
    found = nearest_neighbors(QUERIES, FEATURES, 6)
    assert found.indices.tolist() == indices.tolist()
    torch.testing.assert_close(found.similarities, 1 - torch.tensor(distances).float())


@pytest.mark.parametrize("rows", [2, 1000])
def test_of_equal_ones_the_first_is_found(monkeypatch, rows):
    monkeypatch.setattr(neighbors, "_ROWS", rows)
    found = nearest_neighbors(torch.ones(1, 3), torch.ones(9, 3), 4)
    assert found.indices.tolist() == [[0, 1, 2, 3]]


def test_all_are_returned_where_there_are_fewer():
    assert nearest_neighbors(QUERIES, FEATURES[:2], 5).indices.shape == (5, 2)


def test_nothing_is_like_zeros():
    assert nearest_neighbors(torch.zeros(1, 8), FEATURES, 1).similarities.tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("features", "k", "said"),
    [(FEATURES, 0, "`k` must be at least 1"), (FEATURES[:, :3], 1, "with one network")],
)
def test_what_cannot_be_searched_is_refused(features, k, said):
    with pytest.raises(ValueError, match=said):
        nearest_neighbors(QUERIES, features, k)
