"""Initial weights: what passes through deep networks by initializer, forward and backward."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool._spec import Spec
from tltool.layers.activation_behavior import activation_behavior, saturated_region
from tltool.lecture.claim import Claim, Judgement, require, setting
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, where
from tltool.lecture.training import build_head, mlp

ROWS = 128
"""Rows that pass through the networks."""
KEPT = 3.0
"""The factor within which a standard deviation stays, from one end to the other, if it is kept."""
SATURATED = 0.5
"""The share of saturated units in the last layer from which a network counts as saturated."""
XAVIER, KAIMING = "xavier_normal", "kaiming_normal"


class Passage(NamedTuple):
    """What became of signals, as medians over the seeds.

    Attributes:
        forward: Standard deviation of the last layer's outputs, relative to the first one's.
        backward: Standard deviation of the first layer's gradient, relative to the last one's.
        flat: Share of the last layer's units that pass next to no gradient.
    """

    forward: float
    backward: float
    flat: float

    def __str__(self) -> str:
        return f"{self.forward:.2g} ({self.backward:.2g})"

    @property
    def kept(self) -> bool:
        """Whether both are within the factor."""
        return min(self[:2]) >= 1 / KEPT and max(self[:2]) <= KEPT


@dataclass(frozen=True)
class Initialization(Claim):
    """Outputs and gradients of each layer of new networks, by initializer.

    Args:
        activations: Activations of one number, so not maxout.
        small: Standard deviation of normal weights that is said to kill.
        middle: One between.
        large: One that is said to saturate or blow up.
        depth: Number of hidden layers, at least 2.
        width: Units of each.
        seeds: Number of seeds.
    """

    index = "layer"
    panels = tuple(
        ClaimPanel("layer", y, "network", log="y") for y in ("output_std", "gradient_std")
    )

    activations: Sequence[str] = setting(("tanh", "relu"), without=("maxout",))
    small: float = 0.01
    middle: float = 0.05
    large: float = 1.0
    depth: int = setting(10, above=1)
    width: int = 500
    seeds: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        stds = self.small, self.middle, self.large
        require(sorted(stds) == list(stds), f"Set small < middle < large, got {stds}.")

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; nothing is trained."""
        problem = problem.standardized()
        stds = self.small, self.middle, self.large
        initializers: dict[str, Spec] = {_normal(s): {"name": "normal", "std": s} for s in stds}
        initializers |= {XAVIER: XAVIER, KAIMING: KAIMING}
        features, labels = (each[:ROWS] for each in problem.train)
        rows = []
        for name, (key, each) in product(self.activations, initializers.items()):
            head = mlp(self.width, self.depth, activation=name, initializer=each)
            for seed in range(self.seeds):
                network = build_head(head, problem, seed=seed)
                row: Row = {"network": f"{name}, {key}", "activation": name, "initializer": key}
                rows.append(row | {"seed": seed} | signals_of(network, features, labels, name))
        return rows

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: each part of the claim is a statement.

        A signal is kept if its standard deviation stays within a factor of 3 from the first to the
        last layer, and the gradient's from the last to the first.
        """
        small, large = _normal(self.small), _normal(self.large)
        passages = {
            (name, key): passage(where(rows, activation=name, initializer=key))
            for name, key in product(self.activations, (small, large, XAVIER, KAIMING))
        }
        told = {f"{name} {key} x": each for (name, key), each in passages.items()}
        return Judgement(statements(passages, small=small, large=large), {"passages": told})


def signals_of(network: nn.Module, features: Tensor, labels: Tensor, activation: Spec) -> Row:
    """Return what passes through a network, forward and backward, as lists over hidden layers.

    It counts in double precision, in which signals of deep networks neither overflow nor vanish as
    soon. Standard deviations are over all rows and units.

    Args:
        network: A `Head` without norms; it becomes double.
        features: ``(B, num_features)``.
        labels: ``(B,)``.
        activation: The activation of the network.
    """
    below, above = saturated_region(activation)
    outputs, flat, signal = [], [], features.double()
    for layer in network.double().get_submodule("hidden").children():
        z = layer.get_submodule("linear")(signal)
        flat.append(float(((z <= below) | (z >= above)).double().mean()))
        signal = layer.get_submodule("activation")(z)
        outputs.append(signal)
    loss = functional.cross_entropy(network.get_submodule("output")(signal), labels)
    found = {"output_std": outputs, "gradient_std": torch.autograd.grad(loss, outputs)}
    stds = {name: [float(t.detach().std(correction=0)) for t in found[name]] for name in found}
    return {**stds, "flat": flat}


def passage(rows: Sequence[Row]) -> Passage:
    """Return what became of signals in the median of some seeds."""
    forward = statistics.median(ratio(row["output_std"]) for row in rows)
    backward = statistics.median(ratio(row["gradient_std"][::-1]) for row in rows)
    return Passage(forward, backward, statistics.median(row["flat"][-1] for row in rows))


def ratio(stds: Sequence[float]) -> float:
    """Return the last of some standard deviations relative to the first; 0 if nothing is left.

    Example:
        >>> ratio([2.0, 1.0, 0.5]), ratio([0.0, 0.0])
        (0.25, 0.0)
    """
    first, last = stds[0], stds[-1]
    return math.inf if not math.isfinite(last) else last / first if first else 0.0


def statements(
    passages: Mapping[tuple[str, str], Passage], *, small: str, large: str
) -> dict[str, bool]:
    """Return whether each statement of the claim is true.

    Args:
        passages: What became of signals, by activation and initializer.
        small: The initializer that is said to kill.
        large: The one that is said to saturate bounded activations and to blow up others.
    """
    found: dict[str, bool] = {}
    for name in dict.fromkeys(name for name, _ in passages):
        little, much, xavier = (passages[name, key] for key in (small, large, XAVIER))
        found[f"{small} kills signal and gradient of {name}"] = max(little[:2]) < 1 / KEPT
        behavior = activation_behavior(name)
        if math.isfinite(behavior.highest - behavior.lowest):
            found[f"{large} saturates {name}"] = much.flat >= SATURATED
        else:
            found[f"{large} blows up {name}"] = much.forward > KEPT
        if name == "tanh":
            found[f"{XAVIER} is right for tanh"] = xavier.kept
        if name == "relu":
            found[f"{XAVIER} is too small for relu"] = xavier.forward < 1 / KEPT
            found[f"{KAIMING} is right for relu"] = passages[name, KAIMING].kept
    return found


def _normal(std: float) -> str:
    return f"normal {std:g}"
