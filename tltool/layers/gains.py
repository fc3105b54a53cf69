"""Gains of activations: how much each shrinks a signal, and the factor that makes up for it."""

import math

import torch
from torch import Tensor, nn

from tltool._lookup import lookup
from tltool._spec import Spec, parse_spec
from tltool.layers.activations import ACTIVATIONS, TABLE, create_activation

# Where the standard normal density is above 1e-31. A point lies on every kink of a piecewise linear
# activation (0, 1, 3, 6), where the trapezoidal rule would lose accuracy; gains are right to 1e-7.
LIMIT, POINTS_PER_UNIT = 12, 512


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


#: Why PyTorch's ``calculate_gain`` says something else than ``activation_gain``.
PYTORCH_REASONS: dict[str, str] = {
    name: row["pytorch_gain"] for name, row in TABLE["activations"].items() if "pytorch_gain" in row
}


def pytorch_gain(name: str) -> float | None:
    """Return what ``torch.nn.init.calculate_gain`` says, or ``None`` if it does not know.

    Example:
        >>> pytorch_gain("selu"), pytorch_gain("gelu")
        (0.75, None)
    """
    try:
        return float(nn.init.calculate_gain("linear" if name == "identity" else name))  # type: ignore[arg-type]  # it checks
    except ValueError:
        return None


def settled_second_moment(spec: Spec, gain: float, max_layers: int = 2000) -> float:
    """Return the second moment in front of an activation, many wide layers deep.

    Args:
        spec: An activation of one number.
        gain: The weights have the standard deviation ``gain / sqrt(fan_in)``, and there are no
            biases.
        max_layers: Where to stop if it has not settled.

    Example:
        >>> round(settled_second_moment("tanh", activation_gain("tanh")), 3)
        1.0
    """
    moment = 1.0
    for _ in range(max_layers):
        last, moment = moment, _next_second_moment(spec, gain, moment)
        if abs(moment - last) < 1e-7 * last:
            break
    return moment


def moment_growth(spec: Spec) -> float:
    """Return what becomes of a small deviation of the second moment in one layer with the gain.

    A second moment of ``1 + e`` in front of an activation is ``1 + growth * e`` in front of the
    next one. Below 1 the signal of a deep network comes back to 1 by itself; above 1, as for gelu
    and silu, it runs away, and deep networks need a norm. (Schoenholz et al., 2016, section 3,
    https://arxiv.org/abs/1611.01232.)

    Args:
        spec: An activation of one number.

    Example:
        >>> round(moment_growth("relu"), 3), round(moment_growth("silu"), 2)
        (1.0, 1.17)
    """
    gain = activation_gain(spec)
    high = _next_second_moment(spec, gain, 1 + 1e-3)
    low = _next_second_moment(spec, gain, 1 - 1e-3)
    return (high - low) / 2e-3


@torch.no_grad()
def _next_second_moment(spec: Spec, gain: float, moment: float) -> float:
    z, weights = normal_grid()
    outputs = create_activation(spec, num_channels=1).double()(math.sqrt(moment) * z[:, None])[:, 0]
    return gain**2 * float((outputs**2 * weights).sum())
