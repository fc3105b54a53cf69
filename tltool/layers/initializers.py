"""Initializers by name: how the first weights of a layer are drawn."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from tltool._lookup import lookup
from tltool._spec import Spec, build, parse_spec
from tltool.layers.activations import ACTIVATIONS
from tltool.layers.gains import activation_gain
from tltool.layers.learned_activations import MaxoutLinear

M = TypeVar("M", bound=nn.Module)
#: The activation behind the layer, as a user writes it.
Behind = Spec | None
Distribution = Literal["normal", "uniform"]
Fan = Literal["fan_in", "fan_out", "fan_avg"]

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _check_positive(argument: str, value: float) -> None:
    if not value > 0:
        fix = "For equal weights set initializer: zeros, or constant."
        raise ValueError(f"{argument} must be positive, got {value}. {fix}")


def zeros(weight: Tensor, activation: Behind) -> None:
    """Set all weights to zero: right for output layers only, as equal units stay equal."""
    nn.init.zeros_(weight)


def constant(weight: Tensor, activation: Behind, *, value: float) -> None:
    """Set all weights to one value: for experiments, as equal units stay equal."""
    nn.init.constant_(weight, value)


def normal(weight: Tensor, activation: Behind, *, mean: float = 0.0, std: float = 0.01) -> None:
    """Draw from a normal distribution of a fixed width, whatever the layer's size."""
    _check_positive("`std` of normal", std)
    nn.init.normal_(weight, mean, std)


def uniform(weight: Tensor, activation: Behind, *, low: float = -0.05, high: float = 0.05) -> None:
    """Draw evenly from an interval, whatever the layer's size."""
    if low >= high:
        raise ValueError(f"`low` of uniform must be less than `high`, got {low} and {high}.")
    nn.init.uniform_(weight, low, high)


def trunc_normal(
    weight: Tensor, activation: Behind, *, mean: float = 0.0, std: float = 0.02
) -> None:
    """Draw from a normal distribution cut off at two standard deviations, as for transformers.

    Devlin et al., 2018, https://arxiv.org/abs/1810.04805. The weights spread by 0.88 ``std``.
    """
    _check_positive("`std` of trunc_normal", std)
    nn.init.trunc_normal_(weight, mean, std, mean - 2 * std, mean + 2 * std)


def orthogonal(weight: Tensor, activation: Behind, *, gain: float = 1.0) -> None:
    """Draw a rotation, which keeps all lengths (Saxe et al., 2013).

    https://arxiv.org/abs/1312.6120
    """
    _check_positive("`gain`", gain)
    for part in weight:
        # torch cannot fill a weight in channels_last.
        drawn = torch.empty_like(part, memory_format=torch.contiguous_format)
        part.copy_(nn.init.orthogonal_(drawn, gain))


def scaled(
    distribution: Distribution, fan: Fan, weight: Tensor, activation: Behind, *, gain: float = 1.0
) -> None:
    """Keep the variance of a signal through a near-linear layer.

    By the fan in (LeCun et al., 1998, https://doi.org/10.1007/3-540-49430-8_2), or by the mean of
    fan in and fan out, which keeps that of the gradient too (Xavier: Glorot & Bengio, 2010,
    https://proceedings.mlr.press/v9/glorot10a.html).
    """
    _check_positive("`gain`", gain)
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(weight[0])
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    std = gain / math.sqrt(fans[fan])
    if distribution == "uniform":
        bound = math.sqrt(3) * std  # its deviation is bound / sqrt(3)
        nn.init.uniform_(weight, -bound, bound)
    else:
        nn.init.normal_(weight, 0.0, std)


def kaiming(
    distribution: Distribution,
    weight: Tensor,
    activation: Behind,
    *,
    gain: float | None = None,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
) -> None:
    """Keep the signal's second moment through rectifiers (He et al., 2015).

    https://arxiv.org/abs/1502.01852. The gain ``None`` is that of the activation that follows, and
    that of relu if none is known.
    """
    gain = activation_gain(activation or "relu") if gain is None else gain
    scaled(distribution, mode, weight, activation, gain=gain)


def auto(weight: Tensor, activation: Behind) -> None:
    """Use the initializer that suits the activation that follows, with the activation's gain."""
    name, _ = parse_spec(activation or "identity", kind="activation")
    suited = lookup(ACTIVATIONS, name, kind="activation").initializer
    fan: Fan = "fan_avg" if suited.startswith("xavier") else "fan_in"
    scaled("normal", fan, weight, activation, gain=activation_gain(activation))


#: Each initializer by its name: fills a weight ``(parts, out, in, ...)`` in front of an activation.
#: Each part is a layer of its own: a group of a convolution, or a piece of maxout.
INITIALIZERS: dict[str, Callable[..., None]] = {
    "auto": auto,
    "zeros": zeros,
    "constant": constant,
    "normal": normal,
    "uniform": uniform,
    "trunc_normal": trunc_normal,
    "orthogonal": orthogonal,
}
# Of these there are two distributions; the name without one stands for the normal.
_DISTRIBUTIONS: dict[str, Distribution]
_DISTRIBUTIONS = {"": "normal", "_normal": "normal", "_uniform": "uniform"}
for _suffix, _distribution in _DISTRIBUTIONS.items():
    INITIALIZERS["xavier" + _suffix] = partial(scaled, _distribution, "fan_avg")
    INITIALIZERS["kaiming" + _suffix] = partial(kaiming, _distribution)
    INITIALIZERS["lecun" + _suffix] = partial(scaled, _distribution, "fan_in")


@torch.no_grad()
def init_weights_(
    module: M, initializer: Spec = "auto", *, activation: Spec | None = None, bias: float = 0.0
) -> M:
    """Draw the weights of all linear and convolutional layers of a module anew, in place.

    Args:
        module: A layer, or a module that holds layers.
        initializer: A name in ``INITIALIZERS``, or a mapping of a name and its arguments such as
            ``{name: normal, std: 0.01}``.
        activation: The activation behind the layers, which decides on the scale of ``auto`` and
            ``kaiming``; ``None`` for none.
        bias: Value of every bias. The small positive 0.01 that some recommend keeps relu units
            alive at the start.

    Returns:
        The same module.

    Raises:
        ValueError: If the name or an argument is unknown, an argument is out of range, or the
            module has no such layer.
        TypeError: If an argument is of the wrong type.

    Example:
        >>> layer = init_weights_(nn.Linear(8, 4), "zeros", bias=0.01)
        >>> layer.weight.sum().item(), round(layer.bias[0].item(), 4)
        (0.0, 0.01)
    """
    name, arguments = parse_spec(initializer, kind="initializer")
    factory = lookup(INITIALIZERS, name, kind="initializer")
    layers = [child for child in module.modules() if isinstance(child, WEIGHTED)]
    if not layers:
        raise ValueError(
            f"Cannot initialize {type(module).__name__}: it holds no linear or convolutional "
            "layer. Pass a module that has one."
        )
    maxouts = [child for child in module.modules() if isinstance(child, MaxoutLinear)]
    num_pieces: dict[nn.Module, int] = {maxout.linear: maxout.k for maxout in maxouts}
    for layer in layers:
        num_parts = num_pieces.get(layer, 1) * getattr(layer, "groups", 1)
        weight = layer.weight.view(num_parts, -1, *layer.weight.shape[1:])
        build(factory, name, arguments, weight, activation)
        if layer.bias is not None:
            nn.init.constant_(layer.bias, bias)
    return module
