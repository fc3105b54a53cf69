"""Saturated units kill gradients."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Panel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, means, where
from tltool.lecture.training import build_head, constant_lr, mlp, train_networks

BATCH = 256
"""Rows that the gradient at the start is taken on."""
KILLED = 1e-3
"""Share of relu's gradient below which one is said to be killed."""


@dataclass(frozen=True)
class Saturation(Experiment):
    """The gradient of each layer at the start, and the loss after some epochs, by depth.

    Args:
        activations: Activations, each with the initializer that suits it.
        depths: Numbers of hidden layers.
        width: Units of each.
        lr: Learning rate of AdamW, one for all.
        epochs: Length of the training.
        seeds: Number of seeds.

    Raises:
        ValueError: If relu, or what it is compared with, is missing.
    """

    title = "Saturation"
    claim = "Sigmoid and tanh units saturate, and saturated units kill the gradients."
    source = (
        "CS231n; Glorot & Bengio, 2010, section 3, https://proceedings.mlr.press/v9/glorot10a.html"
    )
    shows = ("sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign")
    index = "layer"
    number = (
        "gradient of the first of {depth} layers, relative to relu's: {shares:.1g}; loss at the "
        "end: {losses:.2f}"
    )
    text = (
        "Each layer multiplies the gradient by the slope of its activation, at most 1/4 for "
        "sigmoid, so that deep layers learn nothing in the same time. Weights drawn so that "
        "signals keep their size may spare it: what kills is where inputs lie, not the function."
    )
    panels = (
        Panel("layer", "gradient", "activation", where={"is_deepest": True}, log="y"),
        Panel("depth", "training_loss", "activation", ticks=True),
    )

    activations: Sequence[str] = ("sigmoid", "tanh", "relu")
    depths: Sequence[int] = (2, 5, 10, 20)
    width: int = 64
    lr: float = 1e-3
    epochs: int = 10
    seeds: int = 3

    def __post_init__(self) -> None:
        require(
            "relu" in self.activations and len(self.activations) > 1,
            "`activations` must be relu, which the others are compared with, and others, got "
            f"{list(self.activations)}.",
        )

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`."""
        problem = problem.standardized()
        networks = [
            {"activation": name, "depth": depth, "head": mlp(self.width, depth, activation=name)}
            for name in self.activations
            for depth in self.depths
        ]
        settings = constant_lr(self.epochs)
        rows = train_networks(problem, networks, [self.lr], self.seeds, settings, optimizer="AdamW")
        batch = [each[:BATCH] for each in problem.train]
        for row in rows:
            network = build_head(row["head"], problem, seed=row["seed"])
            row["is_deepest"] = row["depth"] == max(self.depths)
            row["gradient"] = gradient_norms(network, *batch)
        return rows

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: a gradient is killed below a thousandth of relu's."""
        deepest = where(rows, is_deepest=True)
        first = {
            name: statistics.median(row["gradient"][0] for row in each)
            for name, each in groups(deepest, "activation").items()
        }
        shares = {name: first[name] / first["relu"] for name in first if name != "relu"}
        losses = means(deepest, "training_loss", by="activation")
        return Judgement(
            {"below a thousandth of relu's": {name: shares[name] < KILLED for name in shares}},
            {"depth": max(self.depths), "shares": shares, "losses": losses},
        )


def gradient_norms(network: nn.Module, features: Tensor, labels: Tensor) -> list[float]:
    """Return the norm of the loss's gradient for the weights of each linear layer, from the input.

    Args:
        network: It is left in training mode, without gradients.
        features: ``(B, num_features)``.
        labels: ``(B,)``.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    loss = nn.functional.cross_entropy(network.train()(features), labels)
    gradients = torch.autograd.grad(loss, [layer.weight for layer in layers])
    return [float(gradient.norm()) for gradient in gradients]
