"""SELU in place of batch norm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tltool.comparison.training_settings import TrainingSettings
from tltool.evaluation.paired_differences import judge as compare
from tltool.lecture import training
from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Panel
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
class SELUWithoutNorm(Experiment):
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

    Raises:
        ValueError: If there is no depth.
    """

    title = "SELU without batch norm"
    claim = "SELU trains deep networks without batch norm."
    source = "CS231n; Klambauer et al., 2017, section 2, https://arxiv.org/abs/1706.02515"
    shows = (SELU,)
    index = "layer"
    number = (
        "accuracy with {deep} hidden layers: {accuracies:.3f}; selu less batch norm: {difference}"
    )
    text = (
        "At the start the variance over rows behind the last hidden layer is {variances:.2g}; no "
        "network has skip connections, by which very deep ones train with batch norm. Accuracy at "
        "the least depth: {shallow:.3f}. In tltool set `activation: selu`, `initializer: "
        "lecun_normal`, `norm: null` and `input_norm: standardize`."
    )
    panels = (
        Panel("layer", "mean", "network", where={"is_deepest": True}),
        Panel("layer", "variance", "network", where={"is_deepest": True}, log="y"),
        Panel("depth", "accuracy", "network", ticks=True, level="chance"),
    )

    depths: Sequence[int] = (8, 16, 32)
    width: int = 32
    lrs: Sequence[float] = (3e-3, 1e-2, 3e-2, 1e-1)
    epochs: int = 8
    batch_size: int = 64
    seeds: int = 3

    def __post_init__(self) -> None:
        require(
            min(self.depths, default=0) >= 1,
            "`depths` must be numbers of hidden layers, at least one of them and each at least "
            f"1; got {list(self.depths)}. Write [8, 32].",
        )

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`; ``guess`` is what always saying the most frequent class has right."""
        problem = problem.standardized()
        networks = [
            {"network": name, "depth": depth, "is_deepest": depth == max(self.depths)}
            | {"head": training.mlp(self.width, depth, **head)}
            for depth in sorted(set(self.depths))
            for name, head in NETWORKS.items()
        ]
        settings = TrainingSettings(epochs=self.epochs, batch_size=self.batch_size)
        rows = training.train_networks(problem, networks, self.lrs, self.seeds, settings)
        labels, features = problem.labels[problem.split.test], problem.train[0]
        shared = {"chance": problem.chance, "guess": labels == labels.mode().values}
        found = []
        for row in training.choose_lrs(rows):
            new = training.build_head(row["head"], problem, seed=row["seed"])
            mean, variance = signal(settle_norms_(new, features), features)
            columns = {"mean": mean, "variance": variance}
            mean, variance = signal(training.trained_head(row, problem), features)
            columns |= {"mean_trained": mean, "variance_trained": variance}
            found.append(row | shared | columns)
        return found

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: selu learns, and is not behind batch norm, at the largest depth.

        Differences are judged beyond noise of rows and seeds (p < 0.05). It is not clear if nothing
        learns, or if neither of the two is better and the interval is wider than 5 points to each
        side.
        """
        deepest = groups(where(rows, is_deepest=True), "network")
        correct = {name: stack(each) for name, each in deepest.items()}
        found = {
            e.name: e for e in compare({**correct, CHANCE: stack(deepest[SELU], "guess")}, SELU)
        }
        signs = {n: e.is_finding and (1 if e.estimate.mean > 0 else -1) for n, e in found.items()}
        learns, behind = signs[CHANCE] < 0, signs[NORMED] > 0
        is_wide = half_width(found[NORMED].estimate) > WIDEST
        last = [{**row, "variance": row["variance"][-1]} for row in where(rows, is_deepest=True)]
        ends = {
            "deep": max(self.depths),
            "accuracies": means(last, "accuracy", by="network"),
            "shallow": means(where(rows, depth=min(self.depths)), "accuracy", by="network"),
            "variances": means(last, "variance", by="network"),
        }
        return Judgement(
            {
                "selu learns, ahead of relu without norm or level with batch norm": (
                    learns and (signs[RELU] < 0 or not behind)
                ),
                "selu is not behind batch norm": learns and not behind,
            },
            {**ends, "difference": points(found[NORMED].estimate, sign=-1)},
            is_clear=bool(signs[NORMED]) or not is_wide if learns else behind or signs[RELU] > 0,
        )


@torch.no_grad()
def settle_norms_(network: nn.Module, features: Tensor) -> nn.Module:
    """Set the statistics of each batch norm to those of the rows: a new one has seen none.

    Args:
        network: The network; its other layers stay as they are.
        features: ``(B, num_features)``.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()(features)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network


def signal(network: nn.Module, features: Tensor) -> tuple[list[float], list[float]]:
    """Return of each hidden layer's outputs the mean, and the variance over rows, mean of units."""
    outputs = training.hidden_outputs(network, features)
    variances = [float(each.var(dim=0, correction=0).mean()) for each in outputs]
    return [float(each.mean()) for each in outputs], variances
