"""What takes the place of one activation: the new one, as near to the old one as it can begin."""

from typing import Any

from torch import nn

from tltool._spec import Spec, parse_spec
from tltool.layers.activations import create_activation
from tltool.surgery.activation_gamma import ScaledActivation, activation_gamma, has_gamma
from tltool.surgery.calibrated_module import Calibrated
from tltool.surgery.matched_activation import MatchedActivation
from tltool.surgery.matched_calls import FoundCalls, MatchedCalls
from tltool.surgery.module_replacement import Place

WRAPPERS = (MatchedActivation, ScaledActivation)


def plain_activation(module: nn.Module) -> nn.Module:
    """Return the activation inside what a swap has put around it.

    Example:
        >>> plain_activation(ScaledActivation(nn.ReLU(), 1.7))
        ReLU()
    """
    return module.activation if isinstance(module, WRAPPERS) else module


def create_like(to: Spec, old: nn.Module) -> nn.Module:
    """Return a new activation that begins as much like an old one as it can.

    A prelu begins at the negative slope of a relu, which is 0, of a relu6 or of a leaky relu, where
    ``to`` names none: at its usual 0.25 features of a pretrained model are lost.

    Args:
        to: As for ``create_activation``.
        old: What it replaces.

    Example:
        >>> create_like("prelu", nn.LeakyReLU(0.5)).weight.item()
        0.5
    """
    name, arguments = parse_spec(to, kind="to")
    slope = _negative_slope(plain_activation(old))
    if name == "prelu" and slope is not None and "init" not in arguments:
        return create_activation({"name": name, **arguments, "init": slope})
    return create_activation(to)


def is_exact(to: Spec, kind: str) -> bool:
    """Tell whether a new activation begins as the same function as an old one of a kind.

    Example:
        >>> is_exact("prelu", "relu"), is_exact("prelu", "relu6"), is_exact("gelu", "relu")
        (True, False, False)
    """
    name, arguments = parse_spec(to, kind="to")
    return name == "prelu" and "init" not in arguments and kind in {"relu", "leaky_relu"}


def replacement(place: Place, to: Spec, found: FoundCalls | None) -> nn.Module:
    """Return what takes the place of an activation.

    Args:
        place: Of the old one.
        to: As for ``create_activation``.
        found: The channels of what is to be matched by its moments, if so.
    """
    old: Any = place.module
    for owner, _ in place.owners:
        if isinstance(owner, nn.TransformerEncoderLayer):
            # Its fused evaluation computes what this number says, whatever the module is.
            owner.activation_relu_or_gelu = 0
    if found is not None and old in found.channels:
        return _matched(old, to, found)
    new = create_like(to, old)
    if has_gamma(old):
        return ScaledActivation(new, old.gamma * activation_gamma(new) / _plain_gamma(old))
    return new


def _matched(old: Any, to: Spec, found: FoundCalls) -> nn.Module:
    is_waiting = isinstance(old, Calibrated) and not old.is_calibrated
    before = old.old if is_waiting else old
    calls = [MatchedActivation(create_like(to, old), before, each) for each in found.channels[old]]
    if old not in found.blocks:
        return calls[0]
    matched = MatchedCalls(calls)
    found.blocks[old].register_forward_pre_hook(matched.begin)
    return matched


def _plain_gamma(old: Any) -> float:
    if isinstance(old, ScaledActivation):
        return activation_gamma(old.activation)
    return activation_gamma(_Function(old.act_fn))


class _Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.forward = function


def _negative_slope(old: nn.Module) -> float | None:
    if isinstance(old, nn.ReLU | nn.ReLU6):
        return 0.0
    return old.negative_slope if isinstance(old, nn.LeakyReLU) else None
