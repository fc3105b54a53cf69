import copy

import pytest
import torch
from torch import nn

from tltool.layers.norms import NORMS, BatchNorm, create_norm


def test_batch_norm_trains_as_torch_does():
    ours, torchs = BatchNorm(6), nn.BatchNorm1d(6)
    x = torch.randn(16, 6) * 3 + 1
    assert torch.equal(ours(x), torchs(x))
    assert torch.equal(ours.running_var, torchs.running_var)


def test_batch_norm_takes_a_training_batch_of_one():
    norm = BatchNorm(6).train()
    norm(torch.randn(16, 6) * 3 + 1)
    one = torch.randn(1, 6)
    assert torch.allclose(norm(one), copy.deepcopy(norm).eval()(one))


def test_a_training_batch_of_one_leaves_the_running_statistics_alone():
    norm = BatchNorm(6).train()
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    norm(torch.randn(1, 6) + 5)
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())


def test_a_training_batch_of_one_gives_gradients():
    norm = BatchNorm(6).train()
    norm(torch.randn(1, 6)).sum().backward()
    assert torch.equal(norm.bias.grad, torch.ones(6))


def test_one_sample_in_evaluation_equals_itself_in_a_batch():
    norm = BatchNorm(6).train()
    x = torch.randn(16, 6)
    norm(x)
    norm.eval()
    assert torch.equal(norm(x)[3:4], norm(x[3:4]))


def test_the_running_statistics_cannot_be_turned_off():
    with pytest.raises(ValueError, match=r"'track_running_stats'.*Choose one of: affine, eps, mom"):
        create_norm({"name": "batch", "track_running_stats": False}, 6)


@pytest.mark.parametrize("spec", [None, "none"])
def test_no_norm_is_no_layer(spec):
    assert create_norm(spec, 6) is None


def test_an_unknown_norm_gets_the_nearest_name():
    with pytest.raises(ValueError, match=r"Unknown norm 'bacth'. Did you mean 'batch'"):
        create_norm("bacth", 6)


def test_layer_norm_normalizes_each_sample():
    outputs = create_norm("layer", 64)(torch.randn(5, 64) * 3 + 1)
    assert torch.allclose(outputs.mean(dim=1), torch.zeros(5), atol=1e-5)
    assert torch.allclose(outputs.var(dim=1, correction=0), torch.ones(5), atol=1e-3)


def test_group_norm_normalizes_each_group_of_a_sample():
    outputs = create_norm({"name": "group", "num_groups": 4}, 64)(torch.randn(5, 64) * 3 + 1)
    groups = outputs.view(5, 4, 16)
    assert torch.allclose(groups.mean(dim=2), torch.zeros(5, 4), atol=1e-5)
    assert torch.allclose(groups.var(dim=2, correction=0), torch.ones(5, 4), atol=1e-3)


def test_rms_norm_gives_each_sample_a_second_moment_of_one():
    outputs = create_norm("rms", 64)(torch.randn(5, 64) * 3 + 1)
    assert torch.allclose(outputs.square().mean(dim=1), torch.ones(5), atol=1e-5)


@pytest.mark.parametrize("name", ["layer", "group", "rms"])
def test_what_does_not_mix_samples_gives_one_alone_what_it_gets_in_a_batch(name):
    norm, x = create_norm(name, 64).double().train(), torch.randn(5, 64).double()
    assert torch.allclose(norm(x)[2:3], norm(x[2:3]), atol=1e-12)


@pytest.mark.parametrize("name", ["batch", "layer", "group", "rms"])
def test_a_norm_cancels_the_bias_in_front_where_told(name):
    norm, x, bias = create_norm(name, 64).train(), torch.randn(9, 64), torch.randn(64) * 3
    assert torch.allclose(norm(x + bias), norm(x), atol=1e-4) == NORMS[name].cancels_bias


@pytest.mark.parametrize("name", ["batch", "layer", "group", "rms"])
def test_a_norm_mixes_samples_where_told(name):
    norm, x = create_norm(name, 64).train(), torch.randn(9, 64)
    alone = torch.cat([norm(x[:3]), norm(x[3:])])
    assert (not torch.allclose(norm(x), alone, atol=1e-4)) == NORMS[name].mixes_samples


@pytest.mark.parametrize(("num_features", "num_groups"), [(256, 32), (100, 10), (16, 2), (7, 1)])
def test_group_norm_has_up_to_32_groups_of_8_or_more(num_features, num_groups):
    assert create_norm("group", num_features).num_groups == num_groups


def test_groups_that_do_not_divide_get_the_nearest_number_that_does():
    with pytest.raises(ValueError, match=r"must divide the 64 features.*nearest number.* is 8"):
        create_norm({"name": "group", "num_groups": 9}, 64)


@pytest.mark.parametrize(("spec", "width"), [("layer", 1), ({"name": "group", "num_groups": 4}, 4)])
def test_a_norm_over_one_feature_is_refused(spec, width):
    with pytest.raises(ValueError, match=r"over one feature always gives 0.* set `norm: null`"):
        create_norm(spec, width)


def test_the_momentum_of_batch_norm_may_be_null():
    assert create_norm({"name": "batch", "momentum": None}, 6).momentum is None
