"""The left-out probe equals a ridge that was fitted without the image, or without its group."""

import pytest
import torch

from tltool.evaluation.left_out_probe import LeftOutProbe

PENALTY = 2.0


def fitted_without(features, targets, rows):
    """Predict some rows by a ridge with an intercept that is fitted on the others."""
    kept = torch.ones(len(features), dtype=torch.bool)
    kept[rows] = False
    x = features.double() - features.double().mean(dim=0)
    x = x / x.square().mean(dim=0).sqrt()
    ones = torch.ones(len(x), 1, dtype=torch.float64)
    design = torch.cat([ones, x], dim=1)
    penalties = PENALTY * torch.eye(design.shape[1], dtype=torch.float64)
    penalties[0, 0] = 0
    a = design[kept]
    weights = torch.linalg.solve(a.T @ a + penalties, a.T @ targets.double()[kept])
    return design[rows] @ weights


@pytest.mark.parametrize("width", [3, 40])
def test_an_image_is_predicted_as_by_a_ridge_without_it(width):
    features = torch.randn(20, width, generator=torch.Generator().manual_seed(0))
    targets = torch.eye(2)[torch.arange(20) % 2]
    found = LeftOutProbe(features).scores(targets, PENALTY)
    expected = torch.cat([fitted_without(features, targets, [row]) for row in range(20)])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("width", [3, 40])
def test_a_group_is_predicted_as_by_a_ridge_without_all_of_it(width):
    features = torch.randn(20, width, generator=torch.Generator().manual_seed(0))
    targets = torch.eye(2)[torch.arange(20) % 2]
    groups = torch.tensor([0] * 8 + list(range(1, 13)))
    found = LeftOutProbe(features, groups).scores(targets, PENALTY)[:8]
    torch.testing.assert_close(found, fitted_without(features, targets, list(range(8))))


def test_constant_features_predict_the_share_of_the_other_images():
    probe = LeftOutProbe(torch.ones(6, 3))
    found = probe.scores(torch.eye(2)[[0, 0, 0, 1, 1, 1]], PENALTY)
    torch.testing.assert_close(found[0], torch.tensor([0.4, 0.6], dtype=torch.float64))


def test_rows_in_parts_are_predicted_as_all_at_once(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    features, targets = torch.randn(90, 5, generator=generator), torch.eye(3)[torch.arange(90) % 3]
    groups = torch.arange(90) // 4
    whole = LeftOutProbe(features, groups).probabilities(targets)
    monkeypatch.setattr("tltool.evaluation.left_singular.AT_ONCE", 7)
    monkeypatch.setattr("tltool.evaluation.left_out_probe.AT_ONCE", 7)
    torch.testing.assert_close(LeftOutProbe(features, groups).probabilities(targets), whole)
