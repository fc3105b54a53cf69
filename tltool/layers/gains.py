"""How much an activation shrinks a signal, and the gain that makes up for it."""

import math

import torch
from torch import Tensor

from tltool.layers.activations import ACTIVATIONS, create_activation
from tltool.layers.lookup import lookup
from tltool.layers.spec import Spec, parse_spec

# Where the standard normal density is above 1e-31. A step of 1/2048 puts a point on every kink of a
# piecewise linear activation (0, 1, 3, 6), where the trapezoidal rule would lose accuracy.
LIMIT, POINTS_PER_UNIT = 12, 2048


def normal_grid() -> tuple[Tensor, Tensor]:
    """Return points and weights of a quadrature over the standard normal distribution.

    ``(f(z) * weights).sum()`` is ``E[f(z)]``, in float64.

    Example:
        >>> z, weights = normal_grid()
        >>> round(float((z**2 * weights).sum()), 9)
        1.0
    """
    steps = LIMIT * POINTS_PER_UNIT
    z = torch.arange(-steps, steps + 1, dtype=torch.float64) / POINTS_PER_UNIT
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return z, density / POINTS_PER_UNIT


def activation_moments(spec: Spec) -> tuple[float, float]:
    """Return mean and second moment of an activation's outputs for standard normal inputs.

    Maxout's ``k`` pieces count as independent, as they are with freshly drawn weights.

    Example:
        >>> mean, second_moment = activation_moments("relu")
        >>> round(mean, 4), round(second_moment, 4)
        (0.3989, 0.5)
    """
    name, arguments = parse_spec(spec, kind="activation")
    z, weights = normal_grid()
    if lookup(ACTIVATIONS, name, kind="activation").is_layer:
        k = arguments.get("k", 2)
        outputs = z
        weights = weights * k * torch.special.ndtr(z) ** (k - 1)  # the density of the largest of k
    else:
        with torch.no_grad():
            outputs = create_activation(spec, num_channels=1).double()(z[:, None])[:, 0]
    return float((outputs * weights).sum()), float((outputs**2 * weights).sum())


def activation_gain(spec: Spec | None) -> float:
    """Return ``1 / sqrt(E[f(z)^2])`` for an activation f and a standard normal z, by quadrature.

    Weights of standard deviation ``gain / sqrt(fan_in)`` in front of f and behind it keep the
    second moment of a signal from layer to layer; for relu this is ``sqrt(2)`` (He et al., 2015,
    section 2.2, https://arxiv.org/abs/1502.01852).

    Args:
        spec: An activation as in ``create_activation``; ``None`` for none.

    Example:
        >>> round(activation_gain("relu") ** 2, 6)
        2.0
    """
    if spec is None:
        return 1.0
    _, second_moment = activation_moments(spec)
    return 1 / math.sqrt(second_moment)
