"""Networks of maxout and of relu: their parameters, and what in them learns nothing."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tltool.comparison.head_stack import Trained
from tltool.layers.learned_activations import MaxoutLinear
from tltool.lecture.problem import Problem
from tltool.lecture.training import Head, Tuned


class Contender(NamedTuple):
    """A network of one width, trained at every rate."""

    kind: str
    width: int
    head: Head
    parameters: int
    tuned: Tuned
    idle: Mapping[float, Sequence[float]]
    """See `idle_share`; at each rate, for each seed, NaN where it diverged."""


def count_parameters(problem: Problem, head: Head) -> int:
    """Return the number of weights and biases of a network of relu or maxout, without norms.

    Args:
        problem: The data.
        head: Arguments of `Head`; the activation is ``relu`` or ``{name: maxout, k: ...}``.
    """
    pieces = 1 if head["activation"] == "relu" else head["activation"]["k"]
    widths = [problem.num_features, *head["hidden_features"]]
    hidden = sum((before + 1) * after for before, after in pairwise(widths))
    return int(pieces * hidden + (widths[-1] + 1) * problem.num_classes)


@torch.no_grad()
def copy_relu_(maxout: nn.Module, relu: nn.Module) -> nn.Module:
    """Give maxout the weights of relu, in place: its first pieces; all other pieces are zero.

    Args:
        maxout: A `Head` with maxout, without norms.
        relu: One of equal widths with relu.
    """
    linears = (
        [each for each in network.modules() if isinstance(each, nn.Linear)]
        for network in (maxout, relu)
    )
    for target, source in zip(*linears, strict=True):
        target.weight.zero_()[: source.out_features] = source.weight
        target.bias.zero_()[: source.out_features] = source.bias
    return maxout


@torch.no_grad()
def idle_share(network: nn.Module, features: Tensor) -> float:
    """Return the share of the hidden layers' linear functions that no row gives a gradient.

    They are relu units that are never on, and pieces of maxout that never are the largest.

    Args:
        network: A `Head` of relu or maxout, without norms. It is left in evaluation mode.
        features: ``(N, num_features)``.
    """
    network.eval()
    idle: list[Tensor] = []
    for layer in network.get_submodule("hidden").children():
        first = next(layer.children())
        if isinstance(first, MaxoutLinear):
            z = first.linear(features).unflatten(1, (first.k, -1))  # (N, k, width)
            idle.append((z < z.amax(dim=1, keepdim=True)).all(dim=0).flatten())
        else:
            idle.append((first(features) <= 0).all(dim=0))
        features = layer(features)
    return float(torch.cat(idle).double().mean())


def idle_after(network: nn.Module, run: Trained, features: Tensor) -> float:
    """Return the `idle_share` after a training, NaN if the weights diverged."""
    if not all(tensor.isfinite().all() for tensor in run.state.values()):
        return math.nan
    network.load_state_dict(run.state)
    return idle_share(network, features)
