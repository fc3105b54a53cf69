import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from tltool.models.ridge_solution import PENALTIES
from tltool.models.target_probe import fit_probe, probe_logits


def make_data(num_samples=60, num_features=20, noise=1.0):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(num_samples, num_features, generator=generator)
    weight = torch.randn(num_features, 3, generator=generator)
    return features, features @ weight + noise * torch.randn(num_samples, 3, generator=generator)


@pytest.mark.parametrize("noise", [0.5, 20.0])
def test_the_probe_of_a_number_is_scikit_learns_ridge_with_the_same_penalty(noise):
    features, targets = make_data(noise=noise)
    numbers = 100 + 10 * targets[:, 0]
    probe = fit_probe(features, numbers, 1, objective="regression")
    scaled = StandardScaler().fit_transform(features.double().numpy())
    reference = RidgeCV(alphas=PENALTIES.numpy()).fit(scaled, numbers.double().numpy())
    assert probe.penalty == pytest.approx(reference.alpha_)
    found = probe_logits(probe, features)[:, 0].numpy()
    np.testing.assert_allclose(found, reference.predict(scaled), rtol=1e-6)


def test_the_probe_of_several_classes_is_better_than_their_frequencies_where_left_out():
    features, targets = make_data(400)
    labels = (targets > 1).float()
    probe = fit_probe(features[:300], labels[:300], 3, objective="multi_label")
    loss = functional.binary_cross_entropy_with_logits
    logits, frequency = probe_logits(probe, features[300:]), labels[:300].mean(dim=0).logit()
    guess = frequency.expand(100, 3)
    assert loss(logits, labels[300:].double()) < 0.7 * loss(guess, labels[300:])


def test_weights_of_positives_move_the_probe_towards_the_class():
    features, targets = make_data(noise=5.0)
    labels = (targets > 3).float()
    options = {"objective": "multi_label", "class_weights": torch.tensor([9.0, 1.0, 1.0])}
    weighted = probe_logits(fit_probe(features, labels, 3, **options), features)
    plain = probe_logits(fit_probe(features, labels, 3, objective="multi_label"), features)
    assert (weighted[:, 0].mean() - plain[:, 0].mean()) > 1
    torch.testing.assert_close(weighted[:, 1].mean(), plain[:, 1].mean(), atol=0.5, rtol=0)


def test_a_class_that_no_image_has_is_not_predicted():
    features, targets = make_data()
    labels = torch.cat([(targets[:, :1] > 0).float(), torch.zeros(60, 1)], dim=1)
    logits = probe_logits(fit_probe(features, labels, 2, objective="multi_label"), features)
    assert logits.isfinite().all()
    assert (logits[:, 1] < 0).all()
