import copy

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

from tltool.layers.fitted_norms import Center, Standardize, Whiten
from tltool.layers.input_norms import create_input_norm, fold_into_linear

FITTED = ["center", "standardize", "whiten"]


@pytest.fixture
def features():
    """Features as of a ReLU network: non-negative, correlated, of many scales, one of them dead."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator) * torch.logspace(-2, 1, 6)
    features = (torch.randn(400, 6, generator=generator) @ mixing + 0.3).relu()
    features[:, 3] = 0
    return features


def fitted(spec, features):
    norm = create_input_norm(spec, features.shape[1])
    norm.fit_(features)
    return norm


def test_center_takes_the_mean_away(features):
    centered = fitted("center", features)(features)
    assert torch.allclose(centered.mean(dim=0), torch.zeros(6), atol=1e-5)


def test_center_keeps_every_difference(features):
    norm = fitted("center", features)
    assert torch.allclose(
        norm(features[:1]) - norm(features[1:2]), features[:1] - features[1:2], atol=1e-5
    )


def test_standardize_equals_scikit_learns(features):
    features[:, 4] = 0.1  # a constant whose variance is not exactly zero in floating point
    expected = StandardScaler().fit(features[:300].double().numpy()).transform(features.double())
    ours = fitted("standardize", features[:300]).double()(features.double())
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_standardize_leaves_a_constant_feature_at_zero(features):
    assert (fitted("standardize", features)(features)[:, 3] == 0).all()


def test_whitened_features_are_uncorrelated_and_of_variance_one(features):
    features = features[:, [0, 1, 2, 4, 5]]  # the dead one cannot vary
    whitened = fitted({"name": "whiten", "eps": 0.0}, features).double()(features.double())
    assert torch.allclose(torch.cov(whitened.T, correction=0), torch.eye(5).double(), atol=1e-4)


def test_whitening_treats_a_dead_feature_as_noise(features):
    assert (fitted("whiten", features)(features)[:, 3].abs() < 1e-5).all()


def test_whitening_fewer_images_than_features_stays_finite():
    features = torch.randn(10, 50)
    assert fitted("whiten", features)(torch.randn(5, 50)).abs().max() < 100


def test_whitening_without_eps_refuses_what_does_not_vary(features):
    norm = create_input_norm({"name": "whiten", "eps": 0.0}, 6)
    with pytest.raises(ValueError, match=r"Set \{name: whiten, eps: 0.01\}"):
        norm.fit_(features)
    assert not norm.is_fitted


def test_l2_gives_each_sample_length_one(features):
    lengths = create_input_norm("l2", 6)(features + 1e-3).norm(dim=1)
    assert torch.allclose(lengths, torch.ones(400))


def test_batch_is_batch_norm_without_scale_and_shift(features):
    ours, torchs = create_input_norm("batch", 6), nn.BatchNorm1d(6, eps=1e-6, affine=False)
    assert torch.equal(ours(features), torchs(features))
    assert not list(ours.parameters())


def test_batch_takes_a_training_batch_of_one(features):
    assert create_input_norm("batch", 6).train()(features[:1]).isfinite().all()


@pytest.mark.parametrize("spec", [None, "none"])
def test_no_input_norm_is_no_layer(spec):
    assert create_input_norm(spec, 6) is None


@pytest.mark.parametrize("name", FITTED)
def test_an_unfitted_norm_says_what_to_call(name):
    with pytest.raises(RuntimeError, match=r"Call `head.input_norm.fit_\(features\)`"):
        create_input_norm(name, 6)(torch.randn(4, 6))


@pytest.mark.parametrize("name", FITTED)
def test_a_fitted_norm_follows_in_the_state_dict(name, features):
    norm = fitted(name, features)
    loaded = create_input_norm(name, 6)
    loaded.load_state_dict(norm.state_dict())
    assert torch.equal(loaded(features), norm(features))


def test_loading_an_unfitted_norm_makes_a_fitted_one_unfitted(features):
    norm = fitted("standardize", features)
    norm.load_state_dict(Standardize(6).state_dict())
    with pytest.raises(RuntimeError, match="not fitted yet"):
        norm(features)


@pytest.mark.parametrize("name", FITTED)
def test_a_fit_does_not_depend_on_the_order_of_the_batches(name, features):
    shuffled = features[torch.randperm(400, generator=torch.Generator().manual_seed(1))]
    assert torch.allclose(
        fitted(name, features)(features), fitted(name, shuffled)(features), atol=1e-4
    )


@pytest.mark.parametrize("name", FITTED)
def test_a_second_fit_forgets_the_first(name, features):
    twice = fitted(name, features * 3 + 1)
    assert torch.equal(twice.fit_(features)(features), fitted(name, features)(features))


def test_a_fit_over_many_chunks_is_that_of_the_whole():
    features = torch.randn(10_000, 3, generator=torch.Generator().manual_seed(0)) * 4 + 2
    norm = fitted("standardize", features)
    assert torch.allclose(norm.scale, features.std(dim=0, correction=0), atol=1e-5)


def test_fitting_and_using_draw_no_random_number(features):
    before = torch.get_rng_state()
    fitted("whiten", features)(features)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("norm", [Center(6), Standardize(6), Whiten(6)])
def test_a_fitted_norm_has_nothing_to_train(norm):
    assert not list(norm.parameters())


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (torch.zeros(4, 5), r"shape \(N, 6\), got \(4, 5\)"),
        (torch.zeros(6), r"shape \(N, 6\), got \(6,\)"),
        (torch.zeros(1, 6), "at least 2 images to fit, got 1. Set `input_norm: l2`"),
        (torch.full((4, 6), torch.nan), "NaN or infinite. Check the weights"),
    ],
)
def test_features_that_cannot_be_fitted_say_why(wrong, remedy):
    with pytest.raises(ValueError, match=remedy):
        Standardize(6).fit_(wrong)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", [*FITTED, "batch"])
def test_folded_equals_unfolded(name, bias, features):
    norm = create_input_norm(name, 6).double()
    features = features.double()
    norm.fit_(features) if name in FITTED else norm(features)
    norm.eval()
    linear = nn.Linear(6, 3, bias=bias, dtype=torch.float64)
    assert torch.allclose(fold_into_linear(norm, linear)(features), linear(norm(features)))


def test_folding_leaves_the_layers_as_they_were(features):
    norm, linear = fitted("standardize", features), nn.Linear(6, 3)
    before = copy.deepcopy(linear.state_dict())
    fold_into_linear(norm, linear)
    assert all(torch.equal(value, before[key]) for key, value in linear.state_dict().items())
    assert norm.scale.dtype == torch.float32


def test_what_is_no_affine_map_cannot_be_folded():
    with pytest.raises(TypeError, match=r"UnitLength cannot be folded.*Keep it in front"):
        fold_into_linear(create_input_norm("l2", 6), nn.Linear(6, 3))


def test_an_unfitted_norm_cannot_be_folded():
    with pytest.raises(RuntimeError, match="not fitted yet"):
        fold_into_linear(Standardize(6), nn.Linear(6, 3))


def test_an_unknown_input_norm_gets_the_nearest_name():
    with pytest.raises(ValueError, match="Did you mean 'standardize'"):
        create_input_norm("standardise", 6)
