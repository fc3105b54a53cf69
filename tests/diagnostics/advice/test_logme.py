import math

import pytest
import torch
from scipy.optimize import minimize
from torch.distributions import MultivariateNormal

from tltool.diagnostics.advice.logme import logme


def synthetic(num_images, num_features, num_classes, noise=1.0):
    """Features with unlike scales whose class means differ, and labels."""
    generator = torch.Generator().manual_seed(num_images + num_features)
    labels = torch.arange(num_images) % num_classes
    centers = torch.randn(num_classes, num_features, generator=generator)
    features = centers[labels] + noise * torch.randn(num_images, num_features, generator=generator)
    return features.double() * torch.linspace(0.1, 2, num_features).double(), labels


def brute_force(features, labels, num_classes):
    """Search both precisions of the labels' own distribution, N(0, I / beta + F F' / alpha)."""
    gram, unit = features @ features.T, torch.eye(len(features), dtype=torch.float64)

    def negative(logs, y):
        alpha, beta = map(math.exp, logs)
        covariance = unit / beta + gram / alpha
        return -MultivariateNormal(torch.zeros_like(y), covariance).log_prob(y).item() / len(y)

    found = [
        minimize(negative, (0.0, 0.0), args=((labels == k).double(),), method="Nelder-Mead",
                 options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 2000})
        for k in range(num_classes)
    ]  # fmt: skip
    return -sum(result.fun for result in found) / num_classes


@pytest.mark.parametrize(
    ("num_images", "num_features", "num_classes"), [(60, 8, 2), (50, 20, 4), (30, 45, 3)]
)
def test_it_is_the_maximum_of_the_evidence(num_images, num_features, num_classes):
    features, labels = synthetic(num_images, num_features, num_classes, noise=2.0)
    expected = brute_force(features, labels, num_classes)
    assert logme(features, labels, num_classes) == pytest.approx(expected, abs=1e-7)


def published_algorithm(features, labels, num_classes, steps=200):
    """The first paper's Algorithm 1, written out with its matrices."""
    num_images, num_features = features.shape
    total = 0.0
    for k in range(num_classes):
        y, alpha, beta = (labels == k).double(), 1.0, 1.0
        sigma, v = torch.linalg.eigh(features.T @ features)
        sigma = sigma.clamp_min(0)
        for _ in range(steps):
            gamma = (beta * sigma / (alpha + beta * sigma)).sum()
            m = beta * (v / (alpha + beta * sigma)) @ v.T @ features.T @ y
            squares, residual = m @ m, (features @ m - y).square().sum()
            alpha, beta = (gamma / squares).item(), ((num_images - gamma) / residual).item()
        total += num_images / 2 * math.log(beta / (2 * math.pi)) - beta / 2 * residual
        total += num_features / 2 * math.log(alpha) - alpha / 2 * squares
        total -= (alpha + beta * sigma).log().sum() / 2
    return (total / num_classes / num_images).item()


@pytest.mark.parametrize(("num_images", "num_features"), [(80, 16), (24, 40)])
def test_it_equals_the_papers_algorithm(num_images, num_features):
    features, labels = synthetic(num_images, num_features, 3, noise=2.0)
    expected = published_algorithm(features, labels, 3)
    assert logme(features, labels, 3) == pytest.approx(expected, abs=1e-6)


def test_rotating_the_features_changes_nothing():
    features, labels = synthetic(50, 12, 3)
    rotation, _ = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64))
    assert logme(features @ rotation, labels, 3) == pytest.approx(logme(features, labels, 3))


def test_a_feature_that_is_always_zero_changes_nothing():
    features, labels = synthetic(50, 12, 3)
    padded = torch.cat([features, torch.zeros(50, 3)], dim=1)
    assert logme(padded, labels, 3) == pytest.approx(logme(features, labels, 3))


def test_clearer_classes_score_higher():
    scores = [logme(*synthetic(60, 10, 3, noise=noise), 3) for noise in (8.0, 2.0, 0.5)]
    assert scores == sorted(scores)


def test_features_that_explain_nothing_have_a_finite_score():
    assert math.isfinite(logme(torch.zeros(20, 4), torch.arange(20) % 2, 2))


def test_features_that_explain_everything_have_a_finite_score():
    labels = torch.arange(20) % 2
    assert math.isfinite(logme(torch.nn.functional.one_hot(labels, 2), labels, 2))


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="Give images of at least two"):
        logme(torch.randn(4, 2), torch.zeros(4, dtype=torch.long), 2)


def test_nan_features_are_refused():
    with pytest.raises(ValueError, match="Check the weights"):
        logme(torch.full((4, 2), float("nan")), torch.arange(4) % 2, 2)
