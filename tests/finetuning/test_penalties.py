import pytest
import torch
from torch import nn

from tltool.finetuning.penalties import L2SP


def moved(layer, by):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(by)
    return layer


def test_the_gradient_pulls_each_weight_to_its_start():
    layer, penalty = nn.Linear(3, 2), L2SP(0.5)
    penalty(layer)
    penalty(moved(layer, 2.0)).backward()
    torch.testing.assert_close(layer.weight.grad, torch.full((2, 3), 0.5 * 2.0))


def test_biases_are_not_penalized():
    layer, penalty = nn.Linear(3, 2), L2SP(0.5)
    penalty(layer)
    penalty(moved(layer, 2.0)).backward()
    assert layer.bias.grad is None


def test_frozen_weights_are_not_penalized():
    layer, penalty = nn.Linear(3, 2), L2SP(0.5)
    penalty(layer)
    assert penalty(moved(layer, 2.0).requires_grad_(False)).item() == 0


def test_a_weight_starts_where_it_is_unfrozen():
    layer, penalty = nn.Linear(3, 2).requires_grad_(False), L2SP(2.0)
    penalty(layer)
    start = layer.requires_grad_(True).weight.detach().clone()
    penalty(layer)
    moved(layer, 1.0)
    torch.testing.assert_close(penalty(layer), (layer.weight - start).square().sum())


def test_a_restored_penalty_keeps_the_start():
    layer, penalty, restored = nn.Linear(3, 2), L2SP(0.5), L2SP(0.5)
    penalty(layer)
    restored.load_state_dict(penalty.state_dict())
    moved(layer, 2.0)
    assert restored(layer).item() == penalty(layer).item() > 0


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_a_strength_that_is_no_positive_number_is_refused(strength):
    with pytest.raises(ValueError, match="`l2_sp` must not be negative"):
        L2SP(strength)
