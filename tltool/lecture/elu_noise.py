"""Noise in the inputs: ELU against leaky relu."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tltool.comparison.training_settings import TrainingSettings
from tltool.evaluation.paired_differences import judge as compare
from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement, setting
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, means, points, stack, where

REFERENCE = "leaky_relu"


@dataclass(frozen=True)
class ELUNoise(Claim):
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

    panels = (
        ClaimPanel("noise", "accuracy", "activation", "noise / std of a feature", level="chance"),
    )

    activations: Sequence[str] = setting(("relu", "leaky_relu", "elu"), holding=("elu", REFERENCE))
    noises: Sequence[float] = setting((0.0, 0.25, 0.5, 0.75, 1.0), above=-1e-9, at_least=2)
    draws: int = 10
    depth: int = 2
    width: int = 128
    lrs: Sequence[float] = (3e-3, 1e-2, 3e-2, 1e-1)
    epochs: int = 20
    seeds: int = 3

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; ``right`` is the share of draws in which each test row is right."""
        problem = problem.standardized()
        networks = [
            {"activation": name, "head": training.mlp(self.width, self.depth, activation=name)}
            for name in self.activations
        ]
        settings = TrainingSettings(epochs=self.epochs)
        trained = training.train_grid(problem, networks, self.lrs, self.seeds, settings)
        rows = []
        for row in training.choose_lrs(trained):
            for noise in sorted({0.0, *self.noises}):
                right = self.under_noise(problem, row, noise)
                found = {"noise": noise, "right": right, "accuracy": float(right.mean())}
                rows.append(row | found | {"chance": problem.chance})
        return rows

    @torch.no_grad()
    def under_noise(self, problem: Problem, row: Row, size: float) -> Tensor:
        """Return in which share of the draws a trained network has each test row right, ``(N,)``.

        Args:
            problem: The data.
            row: The network.
            size: Standard deviation of the noise.
        """
        features, labels = problem.test
        network = training.trained_head(row, problem).eval()
        generator = torch.Generator().manual_seed(row["seed"])
        noise = size * torch.randn(self.draws, *features.shape, generator=generator)
        answers = torch.stack([network(features + each).argmax(dim=1) for each in noise])
        return (answers == labels).double().mean(dim=0)

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: elu is more accurate at the most noise, and loses less to it.

        Both are judged beyond noise of rows and seeds (p < 0.05). Where neither activation is more
        accurate, it is not clear.
        """
        least, most = (where(rows, noise=end({r["noise"] for r in rows})) for end in (min, max))
        clean, noisy = (
            {name: stack(where(each, activation=name), "right") for name in (REFERENCE, "elu")}
            for each in (least, most)
        )
        kept = {name: noisy[name] - clean[name] for name in clean}
        (before,), (after,), (saved,) = (compare(each, REFERENCE) for each in (clean, noisy, kept))
        better = after.is_finding and after.estimate.mean > 0
        tougher = better and saved.is_finding and saved.estimate.mean > 0
        numbers = {"noise": most[0]["noise"], "lost": -100 * float(kept[REFERENCE].mean())}
        found = {"clean": before, "noisy": after, "saved": saved}
        return Judgement(
            {"elu is more accurate under noise": better, "and loses less to it": tougher},
            {"accuracies": means(most, "accuracy", by="activation"), **numbers}
            | {name: points(each.estimate) for name, each in found.items()},
            is_clear=after.is_finding,
        )
