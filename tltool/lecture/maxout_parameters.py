"""Maxout: alive, and twice as large."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import Variant
from tltool.evaluation.paired_differences import judge as compare
from tltool.layers.learned_activations import MaxoutLinear
from tltool.lecture import training
from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Panel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, grid, groups, points, stack, where

RELU, WIDER, MAXOUT = "relu", "wider relu", "maxout"
DYING = 0.01
"""Share of the relu units without a gradient beyond which a learning rate is said to kill."""


@dataclass(frozen=True)
class MaxoutParameters(Experiment):
    """Maxout against relu of equal width, and against relu with as many parameters.

    Each network takes the learning rate with the least loss on the rows that choose.

    Args:
        widths: Units of each hidden layer of maxout, and of relu of equal width.
        pieces: Linear functions of a maxout unit, at least 2.
        depth: Number of hidden layers.
        lrs: Learning rates of SGD with momentum 0.9 to choose from.
        epochs: Length of the training.
        seeds: Number of seeds.

    Raises:
        ValueError: If there is no width, or no hidden layer.
    """

    title = "Maxout's parameters"
    claim = (
        "Maxout generalizes relu, does not saturate or die, but doubles the number of parameters."
    )
    source = "CS231n; Goodfellow et al., 2013, section 3, https://arxiv.org/abs/1302.4389"
    shows = ("maxout",)
    number = (
        "maxout less relu: {equal_width} at equal width, {equal_size} at equal parameters (mean "
        "over the widths); without gradient: up to {idle:.1%}; diverged networks of maxout: "
        "{diverged}"
    )
    text = (
        "Maxout has {growth:.1f} times the parameters of relu of equal width; accuracy is what "
        "they are paid for, and relu with wider `hidden_features` has as many. The largest piece "
        "of a unit always gets a gradient, but learning rates that kill relus may make maxout "
        "diverge."
    )
    panels = (
        Panel("parameters", "accuracy", "activation", where={"is_best_lr": True}, log="x"),
        Panel("lr", "without_gradient", "network", where={"is_widest": True}, log="x"),
    )

    widths: Sequence[int] = (4, 8, 16, 32, 64)
    pieces: int = 2
    depth: int = 2
    lrs: Sequence[float] = (3e-3, 1e-2, 3e-2, 6e-2, 1e-1, 2e-1)
    epochs: int = 10
    seeds: int = 3

    def __post_init__(self) -> None:
        require(
            min(self.widths, default=0) >= 1 and self.depth >= 1,
            "Maxout and relu differ in hidden layers: `widths` needs at least one number, each "
            f"at least 1, and so must be `depth`; got {list(self.widths)} and {self.depth}. "
            "Write [8, 32] and 2.",
        )

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`; ``without_gradient`` is NaN where the weights diverged."""
        problem = problem.standardized()
        networks = [
            {"network": kind, "width": width, "is_widest": width == max(self.widths)}
            | {"activation": kind.split()[-1], "head": self.head(problem, kind, width)}
            for width, kind in product(sorted(set(self.widths)), (RELU, MAXOUT, WIDER))
        ]
        lrs, settings = sorted(set(self.lrs)), TrainingSettings(epochs=self.epochs)
        rows = training.train_networks(problem, networks, lrs, self.seeds, settings)
        error = self.generalization_error(problem)
        for row in rows:
            network = training.trained_head(row, problem)
            idle = idle_share(network, problem.train[0]) if training.is_finite(row) else math.nan
            row |= {"parameters": count_parameters(problem, row["head"]), "error": error}
            row["without_gradient"] = idle
        return training.mark_best_lrs(rows)

    def head(self, problem: Problem, kind: str, width: int) -> dict[str, Any]:
        """Return the arguments of a network.

        Args:
            problem: The data.
            kind: ``relu``, ``maxout``, or ``wider relu``, with as many parameters as maxout.
            width: Units of each hidden layer of relu and of maxout.
        """
        maxout = training.mlp(width, self.depth, activation={"name": "maxout", "k": self.pieces})
        if kind == MAXOUT:
            return maxout
        widths = range(width, self.pieces * width + 1) if kind == WIDER else [width]
        relus = [training.mlp(each, self.depth, activation="relu") for each in widths]
        wanted = count_parameters(problem, maxout)
        return min(relus, key=lambda relu: abs(count_parameters(problem, relu) - wanted))

    def generalization_error(self, problem: Problem) -> float:
        """Return how far maxout with relu's weights is from relu, relative to the largest logit."""
        relu, maxout = (
            training.build_head(self.head(problem, kind, max(self.widths)), problem, seed=0).eval()
            for kind in (RELU, MAXOUT)
        )
        features = problem.features[problem.split.test]
        with torch.no_grad():
            expected, got = relu(features), copy_relu_(maxout, relu)(features)
        return float((got - expected).abs().max() / expected.abs().max())

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: maxout computes what relu does, lives where relus die, is twice as big.

        It lives if at each learning rate at which more than 1 % of the relu units get no gradient,
        a smaller share of its pieces gets none, and no seed diverges; where none kills relus, if
        none kills pieces.
        """
        widest = groups(where(rows, is_widest=True), "network")
        of_seeds = {kind: grid(widest[kind], "without_gradient", by="lr") for kind in widest}
        relu, maxout = (of_seeds[kind].mean(dim=1) for kind in (RELU, MAXOUT))  # (R,)
        kills = relu > DYING
        fewer = maxout < relu  # Not where one is NaN.
        lives = bool(fewer[kills].all()) if kills.any() else not (maxout > DYING).any()
        growth = widest[MAXOUT][0]["parameters"] / widest[RELU][0]["parameters"]
        best = groups(where(rows, is_best_lr=True), "network")
        correct = {kind: mean_over_widths(best[kind]) for kind in best}
        found = {each.name: points(each.estimate, sign=-1) for each in compare(correct, MAXOUT)}
        return Judgement(
            {
                "maxout computes what relu does": rows[0]["error"] < 1e-4,
                "maxout lives where relus die": lives,
                "maxout has twice the parameters": growth >= 1.5,
            },
            {"equal_width": found[RELU], "equal_size": found[WIDER], "growth": growth}
            | {"idle": {RELU: _most(relu), MAXOUT: _most(maxout)}}
            | {"diverged": int(of_seeds[MAXOUT].isnan().sum())},
        )


def count_parameters(problem: Problem, head: dict[str, Any]) -> int:
    """Return the number of weights and biases of a network."""
    return Variant(head).num_parameters(problem.num_features, problem.num_classes)


def mean_over_widths(rows: Sequence[Row]) -> Tensor:
    """Return the share of the widths at which each test row is right, for each seed ``(S, N)``."""
    return torch.stack([stack(each) for each in groups(rows, "width").values()]).mean(dim=0)


@torch.no_grad()
def copy_relu_(maxout: nn.Module, relu: nn.Module) -> nn.Module:
    """Give maxout the weights of relu, in place: its first pieces; all other pieces are zero.

    Args:
        maxout: An `Head` with maxout, without norms.
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
        network: An `Head` of relu or maxout, without norms. It is left in evaluation mode.
        features: ``(N, num_features)``.
    """
    idle: list[Tensor] = []
    for layer in network.eval().get_submodule("hidden").children():
        first = next(layer.children())
        if isinstance(first, MaxoutLinear):
            z = first.linear(features).unflatten(1, (first.k, -1))  # (N, k, width)
            idle.append((z < z.amax(dim=1, keepdim=True)).all(dim=0).flatten())
        else:
            idle.append((first(features) <= 0).all(dim=0))
        features = layer(features)
    return float(torch.cat(idle).double().mean())


def _most(shares: Tensor) -> float:
    return max(shares[shares.isfinite()].tolist(), default=math.nan)
