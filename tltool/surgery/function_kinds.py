"""Which functions are activations of which kind."""

import functools
from types import FunctionType

import torch
from torch.nn import functional

from tltool.layers.activations import ACTIVATIONS

HOME_OF_TIMM = "timm.layers.activations"  # and timm.layers.activations_me
SQUASHING = {"sigmoid", "hardsigmoid"}

# A sigmoid or softmax that is called as a function is a gate or an attention; it is not listed.
_NAMES = (
    *("relu", "relu6", "leaky_relu", "rrelu", "prelu", "elu", "celu", "selu", "gelu", "silu"),
    *("mish", "hardswish", "hardtanh", "tanh", "softsign", "threshold"),
)
FUNCTIONS: dict[int, str] = {
    id(getattr(namespace, spelling)): name
    for name in _NAMES
    for spelling in (name, f"{name}_")  # the second works in place
    for namespace in (torch, functional)
    if hasattr(namespace, spelling)
}


def kind_of_function(value: object) -> str | None:
    """Return the kind of an activation that is a function; ``None`` for anything else.

    Example:
        >>> kind_of_function(functional.relu)
        'relu'
    """
    if isinstance(value, functools.partial):
        value = value.func
    if isinstance(value, FunctionType) and value.__module__.startswith(HOME_OF_TIMM):
        name = value.__name__.removesuffix("_me").replace("hard_s", "hards")
        return None if name in SQUASHING else canonical(name)
    return FUNCTIONS.get(id(value))


def canonical(kind: str) -> str:
    """Return the one name of an activation that has several.

    Example:
        >>> canonical("swish")
        'silu'
    """
    return ACTIVATIONS[kind].name if kind in ACTIVATIONS else kind
