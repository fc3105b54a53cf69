"""The gamma of networks without norms, a factor that belongs to the activation in front of it.

It makes the variance of an activation's outputs 1 where its inputs are standard normal (Brock et
al., 2021, https://arxiv.org/abs/2101.08692, section 3.3). timm keeps it behind the activation, in a
``GammaAct``, or in the scale of the convolution that follows, a ``ScaledStdConv2d``.
"""

import copy
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from tltool._module_state import evaluation_mode
from tltool.layers.gains import normal_grid
from tltool.surgery.activation_kinds import is_gamma_act

_NEAR = 0.02
"""How far a gamma may be from that of its activation: timm's are rounded, or from samples."""


class ScaledActivation(nn.Module):
    """An activation and a fixed factor.

    Args:
        activation: The activation.
        gamma: The factor.

    Example:
        >>> ScaledActivation(nn.ReLU(), 2.0)(torch.tensor([-1.0, 3.0]))
        tensor([0., 6.])
    """

    def __init__(self, activation: nn.Module, gamma: float) -> None:
        super().__init__()
        self.activation = activation
        self.gamma = gamma

    def forward(self, z: Tensor) -> Tensor:
        """Return the activations of ``z``, multiplied."""
        outputs: Tensor = self.activation(z) * self.gamma
        return outputs

    def extra_repr(self) -> str:
        """Return what ``print`` shows besides the activation."""
        return f"gamma={self.gamma:.4g}"


@torch.no_grad()
def activation_gamma(activation: nn.Module) -> float:
    """Return ``1 / std(f(z))`` for an activation f and a standard normal z, by quadrature.

    Example:
        >>> round(activation_gamma(nn.ReLU()), 4)
        1.7129
    """
    z, weights = normal_grid()
    outputs = copy.deepcopy(activation).cpu().double()(z[:, None].clone())[:, 0]
    mean = (outputs * weights).sum()
    return float(((outputs - mean).square() * weights).sum().rsqrt())


def has_gamma(activation: nn.Module) -> bool:
    """Tell whether an activation has its gamma behind it."""
    return isinstance(activation, ScaledActivation) or is_gamma_act(activation)


def has_scaled_convolutions(model: nn.Module) -> bool:
    """Tell whether a convolution of a model may hold the gamma of an activation."""
    return any(map(_is_scaled, model.modules()))


def follow_in_convolutions_(
    model: nn.Module,
    names: Collection[str],
    chosen: Collection[nn.Module],
    new: Callable[[nn.Module], nn.Module],
    *,
    example: Tensor | None,
    forward: Callable[[Tensor], object] | None = None,
) -> int:
    """Make the gammas in convolutions follow activations that will be replaced, in place.

    A convolution belongs to the last activation that ran before it in the same block.

    Args:
        model: It still has its old activations.
        names: Of all its activations that are no gates.
        chosen: The activations that will be replaced.
        new: Makes what comes in the place of one of them.
        example: An image ``(1, C, H, W)`` of the size that the model takes.
        forward: What passes it; ``None`` for the model itself.

    Returns:
        The number of convolutions that have changed.

    Raises:
        ValueError: If there is no example, or a gamma is not that of its activation.
    """
    if example is None:
        raise ValueError(
            f"{type(model).__name__} has no norms, and the gamma in its convolutions belongs to "
            "the activations. To find which one, pass `example`, an image of the size that the "
            "model takes: example=torch.zeros(1, 3, 224, 224)."
        )
    ratios: dict[Any, float] = {}
    for convolution, (name, activation) in _activations_of(model, names, example, forward).items():
        if activation not in chosen or has_gamma(activation):
            continue
        gamma = convolution.scale * convolution.weight[0].numel() ** 0.5
        old = activation_gamma(getattr(activation, "activation", activation))  # Without a map.
        if abs(gamma - 1) < _NEAR < abs(old - 1):
            continue  # It holds none.
        if abs(gamma / old - 1) > _NEAR:
            raise ValueError(
                f"Cannot swap {name}: the convolution behind it has a gamma of {gamma:.4g}, and "
                f"that of its activation is {old:.4g}, so what the new one needs is not known. "
                "Leave it out by `only`, or set `match: moments`."
            )
        ratios[convolution] = activation_gamma(new(activation)) / old
    for convolution, ratio in ratios.items():
        convolution.scale *= ratio
    return len(ratios)


@torch.no_grad()
def _activations_of(
    model: nn.Module,
    names: Collection[str],
    example: Tensor,
    forward: Callable[[Tensor], object] | None,
) -> dict[Any, tuple[str, nn.Module]]:
    """Return the activation in front of each convolution that may hold a gamma."""
    found: dict[Any, tuple[str, nn.Module]] = {}
    begun: list[tuple[str, nn.Module]] = []

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object) -> None:
            if name in names:
                begun.append((name, module))
            elif begun and name.startswith(f"{begun[-1][0].rpartition('.')[0]}."):
                found[module] = begun[-1]

        return hook

    with ExitStack() as stack, evaluation_mode(model):
        for name, module in model.named_modules():
            if name in names or _is_scaled(module):
                stack.callback(module.register_forward_pre_hook(note(name)).remove)
        (forward or model)(example)
    return found


def _is_scaled(module: nn.Module) -> bool:
    return type(module).__name__.startswith("ScaledStdConv")
