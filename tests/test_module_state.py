"""A measurement leaves a module as it was, also where it fails."""

import pytest
import torch
from torch import nn

from tltool._module_state import disable_dropout_, evaluation_mode, restored_state


def make_network():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4).eval(), nn.Dropout(), nn.Linear(4, 2))


def spoil(network):
    network.requires_grad_().train()(torch.randn(8, 3)).sum().backward()
    nn.init.ones_(network[3].weight)
    raise RuntimeError("stopped")


def test_modes_come_back_one_by_one_after_an_error():
    network = make_network()
    with pytest.raises(RuntimeError, match="stopped"), evaluation_mode(network):
        spoil(network)
    assert [member.training for member in network] == [True, False, True, True]


def test_weights_buffers_flags_and_random_numbers_come_back_after_an_error():
    network = make_network()
    network[0].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    seed = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="stopped"), restored_state(network):
        spoil(network)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert [parameter.requires_grad for parameter in network[0].parameters()] == [False, False]
    assert not network[1].training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), seed)


def test_dropout_alone_stops():
    network = disable_dropout_(make_network().train())
    assert [member.training for member in network] == [True, True, False, True]
