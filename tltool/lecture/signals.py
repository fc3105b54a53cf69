"""What each hidden layer of a new network puts out, and what gradient it gets back."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool._spec import Spec
from tltool.layers.activation_behavior import saturated_region


class Signals(NamedTuple):
    """Outputs and gradients of each hidden layer, from the input."""

    outputs: list[Tensor]
    """Each ``(B, width)``."""
    gradients: list[Tensor]
    """Of the loss of each row by the outputs, each ``(B, width)``."""
    flat: list[float]
    """Share of the activation's inputs at which it passes next to no gradient."""

    @property
    def output_stds(self) -> list[float]:
        """Standard deviation over all rows and units, for each layer."""
        return [float(each.std(correction=0)) for each in self.outputs]

    @property
    def gradient_stds(self) -> list[float]:
        """Standard deviation over all rows and units, for each layer."""
        return [float(each.std(correction=0)) for each in self.gradients]


def signals_of(network: nn.Module, features: Tensor, labels: Tensor, activation: Spec) -> Signals:
    """Return what passes through a network, forward and backward.

    It counts in double precision, in which signals of deep networks neither overflow nor vanish as
    soon.

    Args:
        network: A `Head` without norms; it becomes double.
        features: ``(B, num_features)``.
        labels: ``(B,)``.
        activation: The activation of the network.
    """
    below, above = saturated_region(activation)
    outputs, flat = [], []
    signal = features.double()
    for layer in network.double().get_submodule("hidden").children():
        z = layer.get_submodule("linear")(signal)
        flat.append(float(((z <= below) | (z >= above)).double().mean()))
        signal = layer.get_submodule("activation")(z)
        outputs.append(signal)
    logits = network.get_submodule("output")(signal)
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    gradients = torch.autograd.grad(loss, outputs)
    return Signals([each.detach() for each in outputs], list(gradients), flat)


def ratio(stds: list[float]) -> float:
    """Return the last of some standard deviations relative to the first; 0 if nothing is left.

    Example:
        >>> ratio([2.0, 1.0, 0.5]), ratio([0.0, 0.0])
        (0.25, 0.0)
    """
    first, last = stds[0], stds[-1]
    if not math.isfinite(last):
        return math.inf
    return last / first if first else 0.0
