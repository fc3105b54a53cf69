"""Initial weights, and what becomes of signals and gradients."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool._spec import Spec
from tltool.layers.activation_behavior import activation_behavior, saturated_region
from tltool.layers.activations import is_maxout
from tltool.layers.gains import activation_gain
from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Panel
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
    """What became of signals, as medians over the seeds."""

    forward: float
    """Standard deviation of the last layer's outputs, relative to the first one's."""
    backward: float
    """Standard deviation of the first layer's gradient, relative to the last one's."""
    flat: float
    """Share of the last layer's units that pass next to no gradient."""

    def __str__(self) -> str:
        return f"{self.forward:.2g} ({self.backward:.2g})"

    @property
    def kept(self) -> bool:
        """Whether both are within the factor."""
        return all(1 / KEPT <= each <= KEPT for each in (self.forward, self.backward))

    @property
    def killed(self) -> bool:
        """Whether both are below the factor."""
        return self.forward < 1 / KEPT and self.backward < 1 / KEPT


@dataclass(frozen=True)
class Initialization(Experiment):
    """Outputs and gradients of each layer of new networks, by initializer.

    Args:
        activations: Activations of one number, so not maxout.
        small: Standard deviation of normal weights that is said to kill.
        middle: One between.
        large: One that is said to saturate or blow up.
        depth: Number of hidden layers, at least 2.
        width: Units of each.
        seeds: Number of seeds.

    Raises:
        ValueError: If there is nothing that a signal could pass, or maxout.
    """

    title = "Initial weights"
    claim = (
        "Small random weights (0.01) kill signals and gradients of deep networks, large ones (1) "
        "saturate tanh or blow relu up; Xavier is right for tanh and too small for relu, for which "
        "Kaiming is right."
    )
    source = (
        "CS231n; Glorot & Bengio, 2010, https://proceedings.mlr.press/v9/glorot10a.html; He et "
        "al., 2015, section 2.2, https://arxiv.org/abs/1502.01852"
    )
    shows = ("tanh", "relu")
    index = "layer"
    number = "from layer 1 to {self.depth}, std of outputs (gradients, back): {passages}"
    text = (
        "Units of the last layer that pass next to no gradient under {large}: {flat:.0%}. tltool's "
        "kaiming_normal takes the gain of the activation ({gains:.2f}); `initializer: auto` takes "
        "the one that suits."
    )
    panels = (
        Panel("layer", "output_std", "network", log="y"),
        Panel("layer", "gradient_std", "network", log="y"),
        Panel("layer", "flat", "network", ylabel="share of units without slope"),
    )

    activations: Sequence[str] = ("tanh", "relu")
    small: float = 0.01
    middle: float = 0.05
    large: float = 1.0
    depth: int = 10
    width: int = 500
    seeds: int = 3

    def __post_init__(self) -> None:
        require(
            self.activations and not any(map(is_maxout, self.activations)),
            "`activations` must name functions of one number, so not maxout; got "
            f"{list(self.activations)}. Write [tanh, relu].",
        )
        require(
            self.depth >= 2 and 0 < self.small < self.middle < self.large,
            "Signals are followed from one hidden layer to another, of weights from small to "
            f"large: got a depth of {self.depth}, and {self.small}, {self.middle} and "
            f"{self.large}. Set `depth` to at least 2, and 0 < small < middle < large.",
        )

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`."""
        problem = problem.standardized()
        return [
            row
            for activation in self.activations
            for name in self.initializers
            for row in self.signals(problem, activation, name)
        ]

    @property
    def initializers(self) -> dict[str, Spec]:
        """The initializers by their names in the picture."""
        stds = (self.small, self.middle, self.large)
        normals: dict[str, Spec] = {_normal(std): {"name": "normal", "std": std} for std in stds}
        return normals | {XAVIER: XAVIER, KAIMING: KAIMING}

    def signals(self, problem: Problem, activation: str, initializer: str) -> list[Row]:
        """Return a row of what passes through a new network, for each seed."""
        options = {"activation": activation, "initializer": self.initializers[initializer]}
        head = mlp(self.width, self.depth, **options)
        features, labels = (each[:ROWS] for each in problem.train)
        return [
            {"activation": activation, "initializer": initializer, "seed": seed}
            | {"network": f"{activation}, {initializer}"}
            | signals_of(build_head(head, problem, seed=seed), features, labels, activation)
            for seed in range(self.seeds)
        ]

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: each part of the claim is a statement.

        A signal is kept if its standard deviation stays within a factor of 3 from the first to the
        last layer, and the gradient's from the last to the first.
        """
        small, large = _normal(self.small), _normal(self.large)
        passages = {
            (activation, name): passage(where(rows, activation=activation, initializer=name))
            for activation in self.activations
            for name in (small, large, XAVIER, KAIMING)
        }
        told = {f"{activation} {name} x": each for (activation, name), each in passages.items()}
        return Judgement(
            statements(passages, small=small, large=large),
            {"passages": told, "large": large}
            | {"flat": {name: passages[name, large].flat for name in self.activations}}
            | {"gains": {name: activation_gain(name) for name in self.activations}},
        )


def signals_of(network: nn.Module, features: Tensor, labels: Tensor, activation: Spec) -> Row:
    """Return what passes through a network, forward and backward, as lists over hidden layers.

    It counts in double precision, in which signals of deep networks neither overflow nor vanish as
    soon. Standard deviations are over all rows and units.

    Args:
        network: An `Head` without norms; it becomes double.
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
    gradients = torch.autograd.grad(
        functional.cross_entropy(logits, labels, reduction="sum"), outputs
    )
    output_stds, gradient_stds = (
        [float(each.detach().std(correction=0)) for each in tensors]
        for tensors in (outputs, gradients)
    )
    return {"output_std": output_stds, "gradient_std": gradient_stds, "flat": flat}


def passage(rows: Sequence[Row]) -> Passage:
    """Return what became of signals in the median of some seeds."""
    return Passage(
        statistics.median(ratio(row["output_std"]) for row in rows),
        statistics.median(ratio(row["gradient_std"][::-1]) for row in rows),
        statistics.median(row["flat"][-1] for row in rows),
    )


def ratio(stds: Sequence[float]) -> float:
    """Return the last of some standard deviations relative to the first; 0 if nothing is left.

    Example:
        >>> ratio([2.0, 1.0, 0.5]), ratio([0.0, 0.0])
        (0.25, 0.0)
    """
    first, last = stds[0], stds[-1]
    if not math.isfinite(last):
        return math.inf
    return last / first if first else 0.0


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
    for activation in dict.fromkeys(activation for activation, _ in passages):
        little, much = passages[activation, small], passages[activation, large]
        found[f"{small} kills signal and gradient of {activation}"] = little.killed
        behavior = activation_behavior(activation)
        if math.isfinite(behavior.highest - behavior.lowest):
            found[f"{large} saturates {activation}"] = much.flat >= SATURATED
        else:
            found[f"{large} blows {activation} up"] = much.forward > KEPT
    if ("tanh", XAVIER) in passages:
        found[f"{XAVIER} is right for tanh"] = passages["tanh", XAVIER].kept
    if ("relu", XAVIER) in passages:
        found[f"{XAVIER} is too small for relu"] = passages["relu", XAVIER].forward < 1 / KEPT
        found[f"{KAIMING} is right for relu"] = passages["relu", KAIMING].kept
    return found


def _normal(std: float) -> str:
    return f"normal {std:g}"
