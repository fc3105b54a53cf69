"""Accumulated gradients in checkpoints."""

import torch
from torch import nn

from tltool.training.gradient_state import gather_gradients, set_gradients_


def model(value=None):
    layer = nn.Linear(1, 1)
    if value is not None:
        layer.weight.grad = torch.tensor([[value]])
    return layer


def two_ranks(gradient):
    return torch.stack([gradient, 3 * gradient])


def test_each_rank_gets_its_own_gradients_back():
    gradients = gather_gradients(model(1.0), gather=two_ranks)
    other = set_gradients_(model(), gradients, rank=1, num_ranks=2)
    assert other.weight.grad == 3


def test_another_number_of_ranks_gets_the_mean():
    gradients = gather_gradients(model(1.0), gather=two_ranks)
    assert set_gradients_(model(), gradients).weight.grad == 2


def test_a_frozen_parameter_has_none():
    assert gather_gradients(model(1.0)).keys() == {"weight"}
