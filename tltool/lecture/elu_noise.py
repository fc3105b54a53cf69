"""ELU and noise in the inputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tltool.comparison.training_settings import TrainingSettings
from tltool.evaluation.paired_differences import judge as compare
from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Panel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, means, points, stack, where
from tltool.lecture.training import choose_lrs, hidden_outputs, mlp, train_networks, trained_head

REFERENCE = "leaky_relu"


@dataclass(frozen=True)
class ELUNoise(Experiment):
    """Accuracy on test rows with noise in their inputs, for networks that trained without it.

    Each network takes the learning rate with the least loss on the rows that choose. All see the
    same noise.

    Args:
        activations: Activations; elu and leaky_relu are the ones that are judged.
        noises: Standard deviations of the Gaussian noise, in standard deviations of a feature.
        draws: How often noise is drawn for each seed.
        depth: Number of hidden layers.
        width: Units of each.
        lrs: Learning rates of SGD with momentum 0.9 to choose from.
        epochs: Length of the training.
        seeds: Number of seeds.

    Raises:
        ValueError: If elu or leaky_relu is missing, or there is no noise.
    """

    title = "ELU and noise"
    claim = "The negative saturation of ELU adds some robustness to noise compared with leaky relu."
    source = "CS231n; Clevert et al., 2015, section 3, https://arxiv.org/abs/1511.07289"
    shows = ("elu", "leaky_relu")
    number = (
        "accuracy at noise of {noise:g} standard deviations: {accuracies:.3f}; elu less leaky "
        "relu: {noisy}"
    )
    text = (
        "Without noise the difference is {clean}; of the {lost:.1f} points that noise takes from "
        "leaky relu, elu saves {saved}. ELU saturates at -1, but leaky relu with its slope of 0.01 "
        "is nearly flat below zero too: noise moves the last hidden layer by this share of its "
        "norm: {changes:.0%}. Choose between them by `tltool compare` on your images."
    )
    panels = (
        Panel("noise", "accuracy", "activation", "noise / std of a feature", level="chance"),
        Panel("noise", "points above leaky relu", "activation", "noise / std of a feature"),
        Panel("noise", "change of the last layer", "activation", "noise / std of a feature"),
    )

    activations: Sequence[str] = ("relu", "leaky_relu", "elu")
    noises: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)
    draws: int = 10
    depth: int = 2
    width: int = 128
    lrs: Sequence[float] = (3e-3, 1e-2, 3e-2, 1e-1)
    epochs: int = 20
    seeds: int = 3

    def __post_init__(self) -> None:
        require(
            {"elu", REFERENCE} <= set(self.activations),
            "`activations` must hold elu and leaky_relu, which are compared; got "
            f"{list(self.activations)}. Write [leaky_relu, elu].",
        )
        require(
            max(self.noises, default=0.0) > 0 and min(self.noises, default=0.0) >= 0,
            "`noises` must hold a positive standard deviation and no negative one; got "
            f"{list(self.noises)}. Write [0.0, 0.5, 1.0].",
        )

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`; ``right`` is the share of draws in which each test row is right."""
        problem = problem.standardized()
        networks = [
            {"activation": name, "head": mlp(self.width, self.depth, activation=name)}
            for name in self.activations
        ]
        settings = TrainingSettings(epochs=self.epochs)
        trained = choose_lrs(train_networks(problem, networks, self.lrs, self.seeds, settings))
        rows = [
            row | {"noise": noise, "chance": problem.chance} | self.under_noise(problem, row, noise)
            for row in trained
            for noise in sorted({0.0, *self.noises})
        ]
        for row in rows:
            same = {"noise": row["noise"], "seed": row["seed"]}
            (reference,) = where(rows, activation=REFERENCE, **same)
            row["points above leaky relu"] = 100 * (row["accuracy"] - reference["accuracy"])
        return rows

    def under_noise(self, problem: Problem, row: Row, size: float) -> Row:
        """Return how right each test row is, and how far the last hidden layer moves, as columns.

        ``right`` is a share of the draws, ``(N,)``; the change of the last hidden outputs is
        relative to their norm.

        Args:
            problem: The data.
            row: A trained network.
            size: Standard deviation of the noise.
        """
        features, labels = (rows[problem.split.test] for rows in (problem.features, problem.labels))
        network = trained_head(row, problem).eval()
        clean = hidden_outputs(network, features)[-1].double()  # A large one overflows.
        generator = torch.Generator().manual_seed(row["seed"])
        right, change = torch.zeros(len(labels), dtype=torch.float64), 0.0
        for _ in range(self.draws):
            noisy = features + size * torch.randn(features.shape, generator=generator)
            moved = hidden_outputs(network, noisy)[-1] - clean
            change += float(moved.norm() / clean.norm().clamp_min(1e-12)) / self.draws
            right += (network(noisy).argmax(dim=1) == labels) / self.draws
        return {"accuracy": float(right.mean()), "right": right, "change of the last layer": change}

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: elu is more accurate at the most noise, and loses less to it.

        Both are judged beyond noise of rows and seeds (p < 0.05). Where neither activation is more
        accurate, it is not clear.
        """
        by_noise = groups(rows, "noise")
        ends = by_noise[min(by_noise)], by_noise[max(by_noise)]
        clean, noisy = (
            {name: stack(where(each, activation=name), "right") for name in (REFERENCE, "elu")}
            for each in ends
        )
        kept = {name: noisy[name] - clean[name] for name in clean}
        (start,), (most,), (saved,) = (compare(each, REFERENCE) for each in (clean, noisy, kept))
        better = most.is_finding and most.estimate.mean > 0
        tougher = better and saved.is_finding and saved.estimate.mean > 0
        return Judgement(
            {"elu is more accurate under noise": better, "and loses less to it": tougher},
            {"noise": max(by_noise), "lost": -100 * float(kept[REFERENCE].mean())}
            | {"clean": points(start.estimate), "noisy": points(most.estimate)}
            | {"saved": points(saved.estimate)}
            | {"accuracies": means(ends[1], "accuracy", by="activation")}
            | {"changes": means(ends[1], "change of the last layer", by="activation")},
            is_clear=most.is_finding,
        )
