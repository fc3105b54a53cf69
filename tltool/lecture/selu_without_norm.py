"""SELU in place of batch norm in deep networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tltool.comparison.training_settings import TrainingSettings
from tltool.evaluation.paired_differences import judge as compare
from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, half_width, means, points, stack, where

SELU, RELU, NORMED, CHANCE = "selu", "relu", "relu + batch norm", "chance"
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    SELU: {"activation": "selu", "initializer": "lecun_normal"},
    RELU: {"activation": "relu", "initializer": "kaiming_normal"},
    NORMED: {"activation": "relu", "initializer": "kaiming_normal", "norm": "batch"},
}
WIDEST = 0.05
"""Half the width of an interval of accuracy beyond which no difference tells nothing."""


@dataclass(frozen=True)
class SELUWithoutNorm(Claim):
    """Signals through depth, and accuracy, of selu and of relu without and with batch norm.

    Each network takes, at each depth, the learning rate with the least loss on the rows that
    choose.

    Args:
        depths: Numbers of hidden layers.
        width: Units of each.
        lrs: Learning rates of SGD with momentum 0.9 to choose from.
        epochs: Length of the training.
        batch_size: Rows in a step.
        seeds: Number of seeds.
    """

    index = "layer"
    panels = (
        ClaimPanel("layer", "variance", "network", where={"is_deepest": True}, log="y"),
        ClaimPanel("depth", "accuracy", "network", ticks=True, level="chance"),
    )

    depths: Sequence[int] = (8, 16, 32)
    width: int = 32
    lrs: Sequence[float] = (3e-3, 1e-2, 3e-2, 1e-1)
    epochs: int = 8
    batch_size: int = 64
    seeds: int = 3

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; ``guess`` is what always saying the most frequent class has right."""
        problem = problem.standardized()
        networks = [
            {"network": name, "depth": depth, "is_deepest": depth == max(self.depths)}
            | {"head": training.mlp(self.width, depth, **head)}
            for depth in sorted(set(self.depths))
            for name, head in NETWORKS.items()
        ]
        settings = TrainingSettings(epochs=self.epochs, batch_size=self.batch_size)
        rows = training.train_grid(problem, networks, self.lrs, self.seeds, settings)
        labels = problem.test[1]
        shared = {"chance": problem.chance, "guess": labels == labels.mode().values}
        found = []
        for row in training.choose_lrs(rows):
            new = training.build_head(row["head"], problem, seed=row["seed"])
            found.append(row | shared | {"variance": variances(new, problem.train[0])})
        return found

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: selu learns, and is not behind batch norm, at the largest depth.

        Differences are judged beyond noise of rows and seeds (p < 0.05). It is not clear if nothing
        learns, or if neither of the two is better and the interval is wider than 5 points to each
        side.
        """
        deepest = where(rows, is_deepest=True)
        correct = {name: stack(each) for name, each in groups(deepest, "network").items()}
        correct[CHANCE] = stack(where(deepest, network=SELU), "guess")
        found = {each.name: each for each in compare(correct, SELU)}
        signs = {n: e.is_finding and (1 if e.estimate.mean > 0 else -1) for n, e in found.items()}
        learns, behind = signs[CHANCE] < 0, signs[NORMED] > 0
        ahead = learns and (signs[RELU] < 0 or not behind)
        normed = found[NORMED].estimate
        is_clear = signs[NORMED] or half_width(normed) <= WIDEST
        return Judgement(
            {"selu learns": ahead, "selu is not behind batch norm": learns and not behind},
            {"deep": max(self.depths), "difference": points(normed, sign=-1)}
            | {"accuracies": means(deepest, "accuracy", by="network")},
            is_clear=bool(is_clear) if learns else behind or signs[RELU] > 0,
        )


@torch.no_grad()
def variances(network: nn.Module, features: Tensor) -> list[float]:
    """Return the variance over rows of each hidden layer's outputs, mean of the units.

    Args:
        network: A new `Head`; in training mode its norms take the statistics of the rows.
        features: ``(B, num_features)``.
    """
    found = []
    for layer in network.train().get_submodule("hidden").children():
        features = layer(features)
        found.append(float(features.var(dim=0, correction=0).mean()))
    return found
