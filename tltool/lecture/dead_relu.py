"""Relu units die."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tltool.evaluation.paired_differences import estimate_mean
from tltool.layers.activations import is_maxout
from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Panel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, grid, half_width, where
from tltool.lecture.training import (
    build_head,
    constant_lr,
    is_finite,
    mlp,
    train_networks,
    trained_head,
)

LEAST_RISE = 0.05
"""Share of the units by which a learning rate kills in every seed, to be said to kill."""


@dataclass(frozen=True)
class DeadReLU(Experiment):
    """The share of hidden units that no training row activates, by learning rate and first bias.

    Args:
        activations: Activations; relu is the one that is judged.
        bias: First value of the hidden biases, compared with 0.
        lrs: Learning rates of SGD with momentum 0.9.
        depth: Number of hidden layers.
        width: Units of each.
        epochs: Length of the training.
        seeds: Number of seeds.

    Raises:
        ValueError: If there is nothing to compare, or an activation that no unit's input leads to.
    """

    title = "Dead units"
    claim = (
        "Relu units can die: a large learning rate makes units that are never active again; people "
        "like to start them with slightly positive biases (0.01)."
    )
    source = "CS231n; He et al., 2015 (prelu), https://arxiv.org/abs/1502.01852"
    shows = ("relu", "leaky_relu", "prelu")
    number = (
        "relu units dead at the learning rate {high:g}: {dead[1]:.0%}, at {low:g}: {dead[0]:.0%}; "
        "with a first bias of {self.bias:g} {change:+.1f} points (+- {half:.1f}, mean over the "
        "learning rates)"
    )
    text = (
        "No training row activates a dead unit, so that none moves its weights. {diverged} "
        "networks diverged and are left out. Units of an activation with a slope below zero are "
        "drawn as dead there but still get a gradient; mean slopes that prelu learned, from 0.25: "
        "{slopes:.2f}. `tltool compare` shows the dead share of each head: lower `lr` where it "
        "grows."
    )
    panels = (
        Panel("lr", "dead", "network", ylabel="dead share of hidden units", log="x"),
        Panel("lr", "accuracy", "network", log="x"),
        Panel("lr", "slope", "network", ylabel="mean slope of prelu", log="x"),
    )

    activations: Sequence[str] = ("relu", "leaky_relu", "prelu")
    bias: float = 0.01
    lrs: Sequence[float] = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
    depth: int = 2
    width: int = 64
    epochs: int = 10
    seeds: int = 5

    def __post_init__(self) -> None:
        require(
            "relu" in self.activations and not any(map(is_maxout, self.activations)),
            "`activations` must hold relu, which is judged, and not maxout, whose units are "
            f"never off; got {list(self.activations)}. Write [relu, prelu].",
        )
        require(
            self.bias != 0 and len(set(self.lrs)) > 1,
            f"`bias` is compared with 0 and the `lrs` with each other; got {self.bias} and "
            f"{list(self.lrs)}. Set a bias of 0.01 and lrs [0.001, 0.1].",
        )

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`; what became of a network whose weights diverged is NaN."""
        problem = problem.standardized()
        networks = [
            {"network": f"{name}, bias {bias:g}", "activation": name, "bias": bias}
            | {"head": mlp(self.width, self.depth, activation=name, bias=bias)}
            for name, bias in itertools.product(self.activations, (0.0, self.bias))
        ]
        lrs, settings = sorted(set(self.lrs)), constant_lr(self.epochs)
        rows = train_networks(problem, networks, lrs, self.seeds, settings)
        return [row | life(row, problem) for row in rows]

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: a high learning rate kills, and a bias spares.

        A learning rate kills if, at the highest one at which no seed diverged, each seed has at
        least 5 points more dead units than at the lowest. A bias spares if fewer units are dead
        with it, in the mean over the learning rates of each seed, beyond the 95 % interval over
        the seeds.
        """
        plain, biased = (
            grid(where(rows, activation="relu", bias=bias), "dead", by="lr")  # (R, S)
            for bias in (0.0, self.bias)
        )
        lrs = sorted(set(self.lrs))
        whole = [0, *plain.isfinite().all(dim=1).nonzero().flatten().tolist()]
        kills = bool((plain[whole[-1]] - plain[0] >= LEAST_RISE).all())
        spared = estimate_mean((plain - biased).nanmean(dim=0)[None])  # NaN where one diverged.
        half = half_width(spared)
        slopes = [row["slope"] for row in rows if math.isfinite(row["slope"])]
        return Judgement(
            {
                "a high learning rate kills 5 % of the units in every seed": kills,
                f"a first bias of {self.bias:g} spares units beyond noise": spared.mean > half,
            },
            {"high": lrs[whole[-1]], "low": lrs[0], "dead": plain[[0, whole[-1]]].mean(1).tolist()}
            | {"change": 0.0 - 100 * spared.mean, "half": 100 * half}
            | {"slopes": {"from": min(slopes), "to": max(slopes)} if slopes else {}}
            | {"diverged": sum(math.isnan(row["dead"]) for row in rows)},
            is_clear=whole[1:2] == [0] and len(whole) > 2,
        )


def life(row: Row, problem: Problem) -> Row:
    """Return what became of the units of a trained network, as columns.

    Args:
        row: Of `train_networks`.
        problem: What it was trained on.
    """
    features, _ = problem.train
    new = build_head(row["head"], problem, seed=row["seed"])
    found = {"dead_at_start": dead_share(new, features)}
    if not is_finite(row):
        return found | dict.fromkeys(("dead", "accuracy", "slope"), math.nan)
    network = trained_head(row, problem)
    prelus = [each for each in network.modules() if isinstance(each, nn.PReLU)]
    slopes = [float(each.weight.detach()) for each in prelus] or [math.nan]
    return found | {"dead": dead_share(network, features), "slope": statistics.fmean(slopes)}


@torch.no_grad()
def dead_share(network: nn.Module, features: Tensor) -> float:
    """Return the share of hidden units whose input to the activation is positive for no row.

    Args:
        network: An `Head`. It is left in evaluation mode.
        features: ``(N, num_features)``.
    """
    dead = []
    for layer in network.eval().get_submodule("hidden").children():
        dead.append((layer.get_submodule("linear")(features) <= 0).all(dim=0))
        features = layer(features)
    return float(torch.cat(dead).double().mean())
