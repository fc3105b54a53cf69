"""What an activation does to signals and gradients, computed from the activation itself."""

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tltool._spec import Spec
from tltool.layers.activations import create_activation, is_maxout
from tltool.layers.learned_activations import MaxoutLinear

# Below this share of its steepest slope, an activation passes next to no gradient.
SATURATED_SLOPE = 0.01
# Beyond +-64 every activation of the table has settled. Edges are found between two points of this
# grid on a second, finer one.
LIMIT, POINTS_PER_UNIT, FINER = 64, 128, 1024
FAR = 1e6


class SaturatedRegion(NamedTuple):
    """The inputs that saturate an activation: up to ``below``, and from ``above`` on."""

    below: float = -math.inf
    above: float = math.inf


class Behavior(NamedTuple):
    """The shape of an activation in numbers."""

    #: Largest lower bound of the outputs.
    lowest: float
    #: Smallest upper bound of the outputs.
    highest: float
    #: Largest absolute slope; infinite where it grows with the input, as of a squared relu.
    steepest_slope: float
    saturation: SaturatedRegion


def outputs_and_slopes(spec: Spec, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(z) and f'(z) of an activation, the latter by autograd.

    Args:
        spec: An activation of one number, as in ``create_activation``.
        z: Inputs, in the precision that the outputs shall have.

    Shape:
        - z: ``(N,)``
        - Output: twice ``(N,)``

    Raises:
        ValueError: If the activation is maxout, which has no slope of its own.

    Example:
        >>> f, slope = outputs_and_slopes("sigmoid", torch.zeros(1))
        >>> f.item(), slope.item()
        (0.5, 0.25)
    """
    return _outputs_and_slopes(create_activation(spec, num_channels=1).to(z.dtype), z)


def _outputs_and_slopes(activation: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    inputs = z.detach().clone().requires_grad_()
    with torch.enable_grad():
        # Of a copy, for backbones have activations that work in place.
        outputs = activation(inputs[:, None].clone())[:, 0]
        (slopes,) = torch.autograd.grad(outputs.sum(), inputs)
    return outputs.detach(), slopes


def saturated_region(spec: Spec) -> SaturatedRegion:
    """Return the inputs for which an activation passes less than 1 % of its steepest slope.

    Only the two outer regions count: that the slope of gelu passes through zero near -0.75 harms
    nothing. Learned activations are taken as they start. Where the slope grows with the input, the
    steepest one between -1 and 1 is taken.

    Example:
        >>> saturated_region("tanh")
        SaturatedRegion(below=-2.9932, above=2.9932)
        >>> saturated_region("relu")
        SaturatedRegion(below=0.0, above=inf)
    """
    if is_maxout(spec):  # The largest piece always has the slope of a linear layer.
        return SaturatedRegion()
    return activation_behavior(spec).saturation


def activation_behavior(spec: Spec) -> Behavior:
    """Return the range, the steepest slope and the saturated region of an activation.

    Raises:
        ValueError: If the activation is maxout, whose shape is learned.

    Example:
        >>> activation_behavior("sigmoid").highest
        1.0
    """
    return _behavior(create_activation(spec, num_channels=1).double())


def saturation_of(activation: nn.Module) -> SaturatedRegion:
    """Return the inputs for which a layer, as it is now, passes next to no gradient.

    As `saturated_region`, for a module of one input and output each, which is left as it is. Of
    slopes by channel the mean counts.

    Example:
        >>> saturation_of(nn.Sigmoid()).above == -saturation_of(nn.Sigmoid()).below
        True
    """
    if isinstance(activation, MaxoutLinear):
        return SaturatedRegion()
    activation = copy.deepcopy(activation).cpu().double()
    if isinstance(activation, nn.PReLU):
        activation.weight = nn.Parameter(activation.weight.mean().reshape(1))
    return _behavior(activation).saturation


def _behavior(activation: nn.Module) -> Behavior:
    steps = LIMIT * POINTS_PER_UNIT
    z = torch.arange(-steps, steps + 1, dtype=torch.float64) / POINTS_PER_UNIT
    outputs, slopes = _outputs_and_slopes(activation, z)
    far, far_slopes = _outputs_and_slopes(activation, torch.tensor([-FAR, FAR], dtype=z.dtype))
    outputs = torch.cat([outputs, far])
    # A closer look beside the largest slope of the grid.
    around = torch.linspace(-1, 1, FINER, dtype=z.dtype) / POINTS_PER_UNIT
    _, finer = _outputs_and_slopes(activation, z[slopes.abs().argmax()] + around)
    steepest = round(torch.cat([slopes, finer]).abs().max().item(), 6)
    typical = steepest
    grows_with_input = far_slopes.abs().max() > 2 * steepest
    if grows_with_input:  # The steepest one is only where the grid ends.
        steepest, typical = math.inf, slopes[z.abs() <= 1].abs().max().item()
    threshold = SATURATED_SLOPE * typical
    live = (slopes.abs() >= threshold).nonzero()[:, 0].tolist()
    below = _last_saturated(activation, z, live[0], -1, threshold)
    above = _last_saturated(activation, z, live[-1], 1, threshold)
    saturation = SaturatedRegion(below, above)
    return Behavior(_bound(outputs.min()), _bound(outputs.max()), steepest, saturation)


def _bound(output: Tensor) -> float:
    """Return infinity for an output that grows with the input, else a limit without its error."""
    value = output.item()
    if abs(value) > math.sqrt(FAR):
        return math.copysign(math.inf, value)
    return round(value, 4) + 0.0  # + 0.0: never -0.0


def _last_saturated(
    activation: nn.Module, z: Tensor, edge: int, side: int, threshold: float
) -> float:
    """Return the saturated input next to the outermost live point of the grid, if there is one.

    Args:
        activation: The activation.
        z: The grid.
        edge: Index of its outermost point whose slope reaches the threshold.
        side: Which way saturation lies, -1 or 1.
        threshold: The slope below which an input counts as saturated.
    """
    if not 0 <= edge + side < len(z):
        return side * math.inf
    way = torch.lerp(z[edge + side], z[edge], torch.linspace(0, 1, FINER + 1, dtype=z.dtype))
    _, slopes = _outputs_and_slopes(activation, way)
    first_live = int((slopes.abs() >= threshold).nonzero()[0])
    return round(way[first_live - 1].item(), 4)
