import copy

import pytest
import torch
from torch import nn

from tltool.layers import create_norm
from tltool.layers.norms import BatchNorm


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
