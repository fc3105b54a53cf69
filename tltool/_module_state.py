"""Save and restore a module's modes, weights and gradients' flags around a measurement."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


@contextmanager
def restored_modes(module: M) -> Iterator[M]:
    """Restore whether each submodule trains: some groups may be frozen, others in training."""
    modes = {member: member.training for member in module.modules()}
    try:
        yield module
    finally:
        for member, mode in modes.items():
            member.training = mode


@contextmanager
def evaluation_mode(module: M) -> Iterator[M]:
    """Put a module into evaluation mode, and restore the mode of each submodule afterwards.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.Dropout().eval())
        >>> with evaluation_mode(network):
        ...     [member.training for member in network]
        [False, False]
        >>> [member.training for member in network]
        [True, False]
    """
    with restored_modes(module):
        yield module.eval()


@contextmanager
def restored_freezing(module: M) -> Iterator[M]:
    """Restore what requires a gradient, and the mode of each submodule.

    Gradients are ``None`` afterwards.

    Example:
        >>> linear = nn.Linear(2, 1)
        >>> with restored_freezing(linear):
        ...     _ = linear.requires_grad_(False).eval()
        >>> linear.weight.requires_grad, linear.training
        (True, True)
    """
    gradients = {parameter: parameter.requires_grad for parameter in module.parameters()}
    with restored_modes(module):
        try:
            yield module
        finally:
            for parameter, requires_grad in gradients.items():
                parameter.requires_grad_(requires_grad)
                parameter.grad = None


@contextmanager
def frozen(module: M) -> Iterator[M]:
    """Let no parameter require a gradient, and restore which ones did; gradients stay.

    Example:
        >>> linear = nn.Linear(2, 1)
        >>> with frozen(linear):
        ...     linear.weight.requires_grad
        False
        >>> linear.weight.requires_grad
        True
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield module
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def restored_state(module: M) -> Iterator[M]:
    """Restore weights, buffers, modes, what requires a gradient, and the random numbers.

    Gradients are ``None`` afterwards.

    Example:
        >>> linear = nn.Linear(2, 1)
        >>> before = linear.weight.detach().clone()
        >>> with restored_state(linear):
        ...     _ = nn.init.zeros_(linear.weight.requires_grad_(False))
        >>> linear.weight.requires_grad, torch.equal(linear.weight, before)
        (True, True)
    """
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.random.fork_rng(), restored_freezing(module):
        try:
            yield module
        finally:
            module.load_state_dict(state)


def disable_dropout_(module: M) -> M:
    """Put dropout and drop path alone into evaluation mode; return the module."""
    for member in module.modules():
        if "drop" in type(member).__name__.lower():  # Dropout, DropPath, ...
            member.eval()
    return module
