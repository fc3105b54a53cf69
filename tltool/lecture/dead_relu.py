"""Dead units: relu units that no image activates, by learning rate and first bias."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from tltool.evaluation.paired_differences import estimate_mean
from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement, setting
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, grid, half_width, where

LEAST_RISE = 0.05
"""Share of the units by which a learning rate kills in every seed, to be said to kill."""


@dataclass(frozen=True)
class DeadReLU(Claim):
    """The share of hidden units that no training row activates, by learning rate and first bias.

    Args:
        activations: Activations; relu is the one that is judged.
        bias: First value of the hidden biases, compared with 0.
        lrs: Learning rates of SGD with momentum 0.9.
        depth: Number of hidden layers.
        width: Units of each.
        epochs: Length of the training.
        seeds: Number of seeds.
    """

    panels = (ClaimPanel("lr", "dead", "network", ylabel="dead share of hidden units", log="x"),)

    activations: Sequence[str] = setting(
        ("relu", "leaky_relu", "prelu"), holding=("relu",), without=("maxout",)
    )
    bias: float = setting(0.01, above=-math.inf, without=(0,))
    lrs: Sequence[float] = setting((1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0), at_least=2)
    depth: int = 2
    width: int = 64
    epochs: int = 10
    seeds: int = 5

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; ``dead`` is NaN where the weights diverged."""
        problem = problem.standardized()
        networks = [
            {"network": f"{name}, bias {bias:g}", "activation": name, "bias": bias}
            | {"head": training.mlp(self.width, self.depth, activation=name, bias=bias)}
            for name, bias in product(self.activations, (0.0, self.bias))
        ]
        lrs, sgd = sorted(set(self.lrs)), training.constant_lr(self.epochs)
        rows = training.train_grid(problem, networks, lrs, self.seeds, **sgd)
        return [row | {"dead": training.idle_after_training(row, problem)} for row in rows]

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: a high learning rate kills, and a bias spares.

        A learning rate kills if, at the highest one at which no seed diverged, each seed has at
        least 5 points more dead units than at the lowest. A bias spares if fewer units are dead
        with it, in the mean over the learning rates of each seed, beyond the 95 % interval over
        the seeds.
        """
        plain, biased = (
            grid(where(rows, activation="relu", bias=bias), "dead", by="lr")  # (R, S)
            for bias in (0.0, self.bias)
        )
        lrs, whole = sorted(set(self.lrs)), plain.isfinite().all(dim=1).nonzero().flatten().tolist()
        ends = [0, whole[-1] if whole else 0]
        spared = estimate_mean((plain - biased).nanmean(dim=0)[None])  # NaN where one diverged.
        rise, half = plain[ends[1]] - plain[0], half_width(spared)
        numbers = {"low": lrs[0], "high": lrs[ends[1]], "dead": plain[ends].mean(dim=1).tolist()}
        numbers |= {"change": 0.0 - 100 * spared.mean, "half": 100 * half}
        return Judgement(
            {
                "a high learning rate kills 5 % in every seed": bool((rise >= LEAST_RISE).all()),
                f"a first bias of {self.bias:g} spares units beyond noise": spared.mean > half,
            },
            numbers | {"diverged": sum(row["dead"] != row["dead"] for row in rows)},
            is_clear=whole[:1] == [0] and len(whole) > 1,
        )
