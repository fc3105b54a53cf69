"""Initial weights, and what becomes of signals and gradients."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tltool._spec import Spec
from tltool.layers.activation_behavior import activation_behavior
from tltool.layers.activations import is_maxout
from tltool.layers.gains import activation_gain
from tltool.lecture.experiment import Experiment, Finding, Verdict, verdict_of
from tltool.lecture.initialization_picture import draw_signals
from tltool.lecture.problem import Problem
from tltool.lecture.signals import Signals, ratio, signals_of
from tltool.lecture.training import build_head

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

    activations: Sequence[str] = ("tanh", "relu")
    small: float = 0.01
    middle: float = 0.05
    large: float = 1.0
    depth: int = 10
    width: int = 500
    seeds: int = 3

    def __post_init__(self) -> None:
        if not self.activations or any(is_maxout(name) for name in self.activations):
            raise ValueError(
                "`activations` must name functions of one number, so not maxout; got "
                f"{list(self.activations)}. Write [tanh, relu]."
            )
        if self.depth < 2 or not 0 < self.small < self.middle < self.large:
            raise ValueError(
                "Signals are followed from one hidden layer to another, of weights from small to "
                f"large: got a depth of {self.depth}, and {self.small}, {self.middle} and "
                f"{self.large}. Set `depth` to at least 2, and 0 < small < middle < large."
            )

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        problem = problem.standardized()
        signals = {
            (activation, name): self.signals(problem, activation, initializer)
            for activation in self.activations
            for name, initializer in self.initializers.items()
        }
        rows = [
            {"activation": activation, "initializer": name, "seed": seed, "layer": layer + 1}
            | {"output_std": each.output_stds[layer], "gradient_std": each.gradient_stds[layer]}
            | {"flat": each.flat[layer]}
            for (activation, name), found in signals.items()
            for seed, each in enumerate(found)
            for layer in range(self.depth)
        ]
        passages = {key: passage(found) for key, found in signals.items()}
        verdict, number, text = judge(passages, small=_name(self.small), large=_name(self.large))
        number = f"from layer 1 to {self.depth}, {number}"
        return Finding(verdict, number, text, draw_signals(signals), rows)

    @property
    def initializers(self) -> dict[str, Spec]:
        """The initializers by their names in the picture."""
        stds = (self.small, self.middle, self.large)
        normals: dict[str, Spec] = {_name(std): {"name": "normal", "std": std} for std in stds}
        return normals | {XAVIER: XAVIER, KAIMING: KAIMING}

    def signals(self, problem: Problem, activation: str, initializer: Spec) -> list[Signals]:
        """Return what passes through a new network, for each seed."""
        head = {
            "hidden_features": [self.width] * self.depth,
            "activation": activation,
            "initializer": initializer,
        }
        features, labels = (part[:ROWS] for part in problem.train)
        return [
            signals_of(build_head(head, problem, seed=seed), features, labels, activation)
            for seed in range(self.seeds)
        ]


def passage(found: Sequence[Signals]) -> Passage:
    """Return what became of signals in the median of some seeds."""
    return Passage(
        statistics.median(ratio(each.output_stds) for each in found),
        statistics.median(ratio(each.gradient_stds[::-1]) for each in found),
        statistics.median(each.flat[-1] for each in found),
    )


def judge(
    passages: Mapping[tuple[str, str], Passage], *, small: str, large: str
) -> tuple[Verdict, str, str]:
    """Return verdict, number and text.

    A signal is kept if its standard deviation stays within a factor of 3 from the first to the last
    layer, and the gradient's from the last to the first. Each statement of the claim is judged for
    itself. All are true: it holds; none: it does not.

    Args:
        passages: What became of signals, by activation and initializer.
        small: The initializer that is said to kill.
        large: The one that is said to saturate bounded activations and to blow up others.
    """
    activations = list(dict.fromkeys(activation for activation, _ in passages))
    statements: dict[str, bool] = {}
    for activation in activations:
        little, much, xavier, kaiming = (
            passages[activation, name] for name in (small, large, XAVIER, KAIMING)
        )
        statements[f"{small} kills signal and gradient of {activation}"] = little.killed
        if _is_bounded(activation):
            statements[f"{large} saturates {activation}"] = much.flat >= SATURATED
        else:
            statements[f"{large} blows {activation} up"] = much.forward > KEPT
        if activation == "tanh":
            statements[f"{XAVIER} is right for tanh"] = xavier.kept
        if activation == "relu":
            statements[f"{XAVIER} is too small for relu"] = xavier.forward < 1 / KEPT
            statements[f"{KAIMING} is right for relu"] = kaiming.kept
    wrong = [statement for statement, is_true in statements.items() if not is_true]
    verdict = verdict_of(list(statements.values()))
    number = "std of outputs (gradients, back): " + "; ".join(
        f"{activation} "
        + ", ".join(
            f"{name} x {each.forward:.2g} ({each.backward:.2g})"
            for (other, name), each in passages.items()
            if other == activation and name in {small, large, XAVIER, KAIMING}
        )
        for activation in activations
    )
    text = (
        f"{len(statements) - len(wrong)} of {len(statements)} statements are true"
        + (f"; not: {', '.join(wrong)}. " if wrong else ". ")
        + " ".join(
            f"Of {activation} under {large} {passages[activation, large].flat:.0%} of the last "
            "layer's units are saturated."
            for activation in activations
            if _is_bounded(activation)
        )
    )
    others = [name for name in activations if name != "relu"]
    if others:
        text += (
            f" tltool's {KAIMING} takes the gain of the activation ("
            + ", ".join(f"{name} {activation_gain(name):.2f}" for name in others)
            + f", relu {math.sqrt(2):.2f})."
        )
    return verdict, number, f"{text.strip()} `initializer: auto` takes the one that suits."


def _is_bounded(activation: str) -> bool:
    behavior = activation_behavior(activation)
    return math.isfinite(behavior.highest - behavior.lowest)


def _name(std: float) -> str:
    return f"normal {std:g}"
