"""Activation functions by name."""

import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from typing import Any, NamedTuple

import torch
from torch import nn

from tltool._lookup import lookup
from tltool._spec import Spec, build, parse_spec
from tltool.layers.learned_activations import MaxoutLinear, SwishBeta, prelu


class Activation(NamedTuple):
    """How an activation is made, and what follows from its formula.

    What it is good for, its paper and its weakness are told in `activation_facts`; its gain is
    computed in `gains`, its saturated region in `activation_behavior`.
    """

    name: str
    factory: Callable[..., nn.Module]
    #: The initializer of the linear layer in front that suits it, a name in ``INITIALIZERS``.
    initializer: str
    #: Whether the mean of its outputs is 0 where its inputs are standard normal.
    zero_centered: bool = False
    #: Whether it computes an exponential or a relative of it (tanh, erf, logarithm).
    uses_exp: bool = False
    #: Whether it has no gradient where it is saturated, so that a unit may never come back.
    can_die: bool = False
    #: Whether ``factory`` wants the number of channels as its first argument.
    takes_channels: bool = False
    #: Whether it is a linear layer of its own, and not a function of one number.
    is_layer: bool = False


def _gelu_tanh() -> nn.GELU:
    return nn.GELU(approximate="tanh")


_OWN: dict[str, Callable[..., nn.Module]]
_OWN = {"prelu": prelu, "maxout": MaxoutLinear, "swish_beta": SwishBeta, "gelu_tanh": _gelu_tanh}

_file = resources.files(__package__) / "activations.toml"
#: The table of activations as it is written: `ACTIVATIONS` and `ACTIVATION_FACTS` are made of it.
TABLE: dict[str, Any] = tomllib.loads(_file.read_text(encoding="utf-8"))

#: Each activation by its name; ``swish`` is another name of ``silu``.
ACTIVATIONS: dict[str, Activation] = {
    name: Activation(
        name,
        _OWN[name] if name in _OWN else getattr(nn, row["layer"]),
        row["initializer"],
        **dict.fromkeys(row.get("traits", ()), True),
    )
    for name, row in TABLE["activations"].items()
}
ACTIVATIONS["swish"] = ACTIVATIONS["silu"]


def create_activation(spec: Spec, *, num_channels: int | None = None) -> nn.Module:
    """Return a new activation module.

    Args:
        spec: A name in ``ACTIVATIONS``, or a mapping of a name and arguments of its constructor,
            such as ``{name: leaky_relu, negative_slope: 0.2}``.
        num_channels: Width of the layer, for activations that learn something for each channel;
            ``None`` if it is not known.

    Returns:
        A module that keeps the shape of its input.

    Raises:
        ValueError: If the name or an argument is unknown, an argument is out of range, or it is
            maxout, which is no function of one number.
        TypeError: If ``spec`` or an argument is of the wrong type.

    Example:
        >>> create_activation("gelu")
        GELU(approximate='none')
        >>> create_activation({"name": "leaky_relu", "negative_slope": 0.2})
        LeakyReLU(negative_slope=0.2)
    """
    name, arguments = parse_spec(spec, kind="activation")
    entry = lookup(ACTIVATIONS, name, kind="activation")
    if entry.is_layer:
        raise ValueError(
            f"{name} is no function of one number: it takes the place of the linear layer too. In "
            f"a head, set `activation: {name}`; the head builds it as MaxoutLinear(in_features, "
            "out_features, k). Elsewhere, use MaxoutLinear instead of nn.Linear."
        )
    injected = [num_channels] if entry.takes_channels else []
    make = partial(build, entry.factory, name, arguments, *injected)
    if arguments:
        _check_computed(name, arguments, make, num_channels or 1)
    return make()


def _check_computed(
    name: str, arguments: Mapping[str, Any], make: Callable[[], nn.Module], num_channels: int
) -> None:
    """Raise unless an activation can be made and computed with its arguments."""
    reason = "its output is not finite"
    try:
        with torch.device("cpu"), torch.no_grad():  # Made on the meta device, it has no numbers.
            outputs = make()(torch.linspace(-3, 3, 7)[:, None].repeat(1, num_channels))
        if outputs.isfinite().all():
            return
    except (AssertionError, RuntimeError) as error:  # So torch refuses an argument.
        reason = str(error).rstrip(".")
    settings = ", ".join(f"{key}: {value}" for key, value in arguments.items())
    raise ValueError(
        f"{name} cannot be computed with {settings}: {reason}. Choose another value, or write just "
        f"`{name}` for the usual one."
    )


def create_maxout(
    spec: Spec,
    in_features: int,
    out_features: int,
    *,
    bias: bool = True,
    create_norm: Callable[[int], nn.Module | None] | None = None,
) -> MaxoutLinear:
    """Return a maxout layer.

    Args:
        spec: ``maxout`` or ``{name: maxout, k: 3}``.
        in_features: Number of input features.
        out_features: Number of output features.
        bias: Whether the pieces have a bias.
        create_norm: Makes the normalization of the pieces from their number; ``None`` for none.

    Raises:
        ValueError: If an argument other than ``k`` is given.

    Example:
        >>> create_maxout({"name": "maxout", "k": 3}, 8, 4).k
        3
    """
    name, arguments = parse_spec(spec, kind="activation")

    def maxout(*, k: int = 2) -> MaxoutLinear:
        norm = create_norm(k * out_features) if create_norm else None
        return MaxoutLinear(in_features, out_features, k, bias=bias, norm=norm)

    return build(maxout, name, arguments)


def is_maxout(spec: Spec) -> bool:
    """Return whether ``spec`` names an activation that is a linear layer of its own.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> is_maxout({"name": "maxout", "k": 3})
        True
    """
    name, _ = parse_spec(spec, kind="activation")
    return lookup(ACTIVATIONS, name, kind="activation").is_layer
