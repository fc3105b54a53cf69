"""Maxout: alive, and twice as many parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from tltool.comparison.training_settings import TrainingSettings
from tltool.evaluation.paired_differences import judge as compare
from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, grid, groups, points, stack, where

RELU, WIDER, MAXOUT = "relu", "wider relu", "maxout"
DYING = 0.01
"""Share of the relu units without a gradient beyond which a learning rate is said to kill."""


@dataclass(frozen=True)
class MaxoutParameters(Claim):
    """Maxout against relu of equal width, and against relu with as many parameters.

    Each network takes the learning rate with the least loss on the rows that choose.

    Args:
        widths: Units of each hidden layer of maxout, and of relu of equal width.
        pieces: Linear functions of a maxout unit, at least 2.
        depth: Number of hidden layers.
        lrs: Learning rates of SGD with momentum 0.9 to choose from.
        epochs: Length of the training.
        seeds: Number of seeds.
    """

    panels = (
        ClaimPanel("parameters", "accuracy", "network", where={"is_best_lr": True}, log="x"),
        ClaimPanel("lr", "without_gradient", "network", where={"is_widest": True}, log="x"),
    )

    widths: Sequence[int] = (4, 8, 16, 32, 64)
    pieces: int = 2
    depth: int = 2
    lrs: Sequence[float] = (3e-3, 1e-2, 3e-2, 6e-2, 1e-1, 2e-1)
    epochs: int = 10
    seeds: int = 3

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; ``without_gradient`` is NaN where the weights diverged."""
        problem = problem.standardized()
        networks: list[Row] = []
        for width, kind in product(sorted(set(self.widths)), (RELU, MAXOUT, WIDER)):
            head = self.head(problem, kind, width)
            size = {"width": width, "parameters": training.count_parameters(head, problem)}
            is_widest = width == max(self.widths)
            networks.append({"network": kind, "is_widest": is_widest, "head": head, **size})
        lrs, settings = sorted(set(self.lrs)), TrainingSettings(epochs=self.epochs)
        rows = training.train_grid(problem, networks, lrs, self.seeds, settings)
        error = self.generalization_error(problem)
        for row in rows:
            idle = training.idle_after_training(row, problem)
            row |= {"without_gradient": idle, "error": error}
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
        wanted = training.count_parameters(maxout, problem)
        return min(relus, key=lambda relu: abs(training.count_parameters(relu, problem) - wanted))

    @torch.no_grad()
    def generalization_error(self, problem: Problem) -> float:
        """Return how far maxout with relu's weights is from relu, relative to the largest logit."""
        heads = [self.head(problem, kind, max(self.widths)) for kind in (RELU, MAXOUT)]
        relu, maxout = (training.build_head(head, problem, seed=0).eval() for head in heads)
        expected, got = relu(problem.test[0]), copy_relu_(maxout, relu)(problem.test[0])
        return float((got - expected).abs().max() / expected.abs().max())

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: maxout computes what relu does, lives where relus die, is twice as big.

        It lives if at each learning rate at which more than 1 % of the relu units get no gradient,
        a smaller share of its pieces gets none, and no seed diverges; where none kills relus, if
        none kills pieces.
        """
        widest = groups(where(rows, is_widest=True), "network")
        seeds = {kind: grid(widest[kind], "without_gradient", by="lr") for kind in widest}
        relu, maxout = (seeds[kind].mean(dim=1) for kind in (RELU, MAXOUT))  # (R,)
        kills, fewer = relu > DYING, maxout < relu  # False where one is NaN.
        lives = bool(fewer[kills].all()) if kills.any() else not (maxout > DYING).any()
        growth = widest[MAXOUT][0]["parameters"] / widest[RELU][0]["parameters"]
        best = groups(where(rows, is_best_lr=True), "network")
        correct = {kind: mean_over_widths(best[kind]) for kind in best}
        found = {each.name: points(each.estimate, sign=-1) for each in compare(correct, MAXOUT)}
        idle = {k: max(seeds[k].mean(1).nan_to_num(-math.inf).tolist()) for k in (RELU, MAXOUT)}
        return Judgement(
            {
                "maxout computes what relu does": rows[0]["error"] < 1e-4,
                "maxout lives where relus die": lives,
                "maxout has twice the parameters": growth >= 1.5,
            },
            {"equal_width": found[RELU], "equal_size": found[WIDER], "growth": growth}
            | {"idle": idle, "diverged": int(seeds[MAXOUT].isnan().sum())},
        )


def mean_over_widths(rows: Sequence[Row]) -> Tensor:
    """Return the share of the widths at which each test row is right, for each seed ``(S, N)``."""
    return torch.stack([stack(each) for each in groups(rows, "width").values()]).mean(dim=0)


def copy_relu_(maxout: nn.Module, relu: nn.Module) -> nn.Module:
    """Give maxout the weights of relu, in place: its first pieces; all other pieces are zero.

    Args:
        maxout: A `Head` with maxout, without norms.
        relu: One of equal widths with relu.
    """
    for target, source in zip(maxout.parameters(), relu.parameters(), strict=True):
        target.zero_()[: len(source)] = source
    return maxout
