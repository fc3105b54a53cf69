import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from tltool.models.ridge_probe import PENALTIES, SCALES, fit_ridge_probe


def make_data(num_samples, num_features, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num_samples,), generator=generator)
    centers = torch.randn(3, num_features, generator=generator)
    return centers[labels] + 2 * torch.randn(num_samples, num_features, generator=generator), labels


@pytest.mark.parametrize("shape", [(200, 20), (40, 100)])
def test_it_predicts_what_scikit_learn_predicts_with_the_same_penalty(shape):
    features, labels = make_data(*shape)
    probe = fit_ridge_probe(features, labels, 3)
    scaled = StandardScaler().fit_transform(features.double().numpy())
    reference = RidgeClassifierCV(alphas=[probe.penalty]).fit(scaled, labels.numpy())
    np.testing.assert_array_equal(probe.predict(features).numpy(), reference.predict(scaled))


def test_the_penalty_has_the_least_loss_when_each_sample_is_left_out_in_turn():
    features, labels = make_data(25, 10)
    x = (features.double() - features.double().mean(0)) / features.double().std(0, correction=0)
    y = functional.one_hot(labels, 3).double()

    def left_out_loss(penalty, factor):
        predictions = []
        for i in range(len(x)):
            keep = torch.arange(len(x)) != i
            mean_x, mean_y = x[keep].mean(0), y[keep].mean(0)
            gram = (x[keep] - mean_x).T @ (x[keep] - mean_x) + penalty * torch.eye(10)
            weight = torch.linalg.solve(gram, (x[keep] - mean_x).T @ (y[keep] - mean_y))
            predictions.append(mean_y + (x[i] - mean_x) @ weight)
        return functional.cross_entropy(factor * torch.stack(predictions), labels)

    best = min(itertools.product(PENALTIES, SCALES), key=lambda pair: left_out_loss(*pair))
    probe = fit_ridge_probe(features, labels, 3)
    assert (probe.penalty, probe.factor) == pytest.approx([float(value) for value in best])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_no_numbers_are_refused(value):
    features, labels = make_data(20, 5)
    features[3, 4] = value
    with pytest.raises(ValueError, match=r"features that are NaN or infinite\. Check its weights"):
        fit_ridge_probe(features, labels, 3)


def test_a_constant_feature_changes_nothing():
    features, labels = make_data(50, 5)
    with_constant = torch.cat([features, torch.full((50, 1), 3.0)], dim=1)
    plain, padded = fit_ridge_probe(features, labels, 3), fit_ridge_probe(with_constant, labels, 3)
    torch.testing.assert_close(padded.weight[:5], plain.weight)
