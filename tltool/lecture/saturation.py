"""Saturation: saturated units kill gradients."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement, setting
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, means, where

BATCH = 256
"""Rows that the gradient at the start is taken on."""
KILLED = 1e-3
"""Share of relu's gradient below which one is said to be killed."""


@dataclass(frozen=True)
class Saturation(Claim):
    """The gradient of each layer at the start, and the loss after some epochs, by depth.

    Args:
        activations: Activations, relu among them, each with the initializer that suits it.
        depths: Numbers of hidden layers.
        width: Units of each.
        lr: Learning rate of AdamW, one for all.
        epochs: Length of the training.
        seeds: Number of seeds.
    """

    index = "layer"
    panels = (
        ClaimPanel("layer", "gradient", "activation", where={"is_deepest": True}, log="y"),
        ClaimPanel("depth", "training_loss", "activation", ticks=True),
    )

    activations: Sequence[str] = setting(("sigmoid", "tanh", "relu"), at_least=2, holding=("relu",))
    depths: Sequence[int] = (2, 5, 10, 20)
    width: int = 64
    lr: float = 1e-3
    epochs: int = 10
    seeds: int = 3

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; ``gradient`` is the norm of each linear layer's, from the input."""
        problem = problem.standardized()
        networks: list[Row] = [
            {"activation": name, "depth": depth, "is_deepest": depth == max(self.depths)}
            | {"head": training.mlp(self.width, depth, activation=name)}
            for name, depth in product(self.activations, self.depths)
        ]
        adamw = training.constant_lr(self.epochs, optimizer="AdamW")
        rows = training.train_grid(problem, networks, [self.lr], self.seeds, **adamw)
        batch = [each[:BATCH] for each in problem.train]
        for row in rows:
            network = training.build_head(row["head"], problem, seed=row["seed"])
            found = training.gradients(network, *batch)
            row["gradient"] = [float(each.norm()) for each in found if each.ndim == 2]
        return rows

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: a gradient is killed below a thousandth of relu's."""
        deepest = where(rows, is_deepest=True)
        first = {
            name: statistics.median(row["gradient"][0] for row in each)
            for name, each in groups(deepest, "activation").items()
        }
        shares = {name: first[name] / first["relu"] for name in first if name != "relu"}
        losses = means(deepest, "training_loss", by="activation")
        return Judgement(
            {f"{name} below 1/1000 of relu's": each < KILLED for name, each in shares.items()},
            {"depth": max(self.depths), "shares": shares, "losses": losses},
        )
