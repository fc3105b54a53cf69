"""Zero-centered inputs: without them, the weights zig-zag."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement, setting
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.race import LOSSES, race, racers
from tltool.lecture.table import Row, means

CENTERED = "x - mean"
SLOWER = 1.5
"""From how many times the epochs on something is slower: a step of `lrs` may cost 1.4 times."""
TURN = 0.5
"""By how much the mean cosine of successive updates falls where they zig-zag."""


@dataclass(frozen=True)
class ZeroCentered(Claim):
    """The same features centered, as they come, and shifted further from zero.

    All are divided by one number, so that they spread by 1 about their mean. They reach a network
    of one hidden layer, which is trained by plain gradient descent; each keeps the best of some
    learning rates. The first biases take back the mean of the features, so that all start as one
    function: without it, a far mean would saturate the units before the first step.

    Args:
        shifts: What is added to the centered features, in units of their spread. From about 3 on
            hardly a feature is negative.
        activation: That of the hidden layer; a zero-centered one leaves the inputs alone to blame.
        width: Its units.
        lrs: Learning rates that each chooses from; three in a factor of ten by default.
        target: The training loss to reach, as a share of the loss of guessing, in ``(0, 1)``.
        epochs: Length of the training.
        batch_size: Rows in a step.
        max_rows: Training rows that are used, at most.
        steps: Updates on all rows at once whose directions are compared.
        seeds: Number of seeds.
    """

    panels = (
        LOSSES,
        ClaimPanel("step on all rows", "cosines", "name", ylabel="cosine to the last"),
    )

    shifts: Sequence[float] = setting((2.0, 4.0), above=-math.inf, without=(0,))
    activation: str = "tanh"
    width: int = 64
    lrs: Sequence[float] = tuple(round(10 ** (third / 3), 4) for third in range(-9, 4))
    target: float = setting(0.1, below=1)
    epochs: int = 25
    batch_size: int = 128
    max_rows: int = 1200
    steps: int = setting(30, above=1)
    seeds: int = 3

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; ``mean_cosine`` is 1 for steps straight on, -1 for straight back."""
        sgd = training.constant_lr(self.epochs, self.batch_size, training.PLAIN_SGD)
        head = training.mlp(self.width, 1, activation=self.activation)
        rows: list[Row] = []
        for name, variant in self.variants(problem.only_training(self.max_rows)).items():
            features, labels = variant.train
            start = partial(take_back_, mean=features.mean(dim=0))
            networks = [{"name": f"{name}:", "head": head}]  # Names end in numbers.
            trained = training.train_grid(
                variant, networks, self.lrs, self.seeds, **sgd, start=start
            )
            for row in race(trained, self.target * variant.guess_loss):
                network = start(training.build_head(head, variant, seed=row["seed"]))
                cosines = turns(descend(network, features, labels, lr=row["lr"], steps=self.steps))
                row["cosines"] = torch.cat([torch.tensor([math.nan]), cosines])  # Of each step.
                row["mean_cosine"] = float(cosines.nanmean())
                rows.append(row | {"equal_signs": equal_signs(features)})
        return rows

    def variants(self, problem: Problem) -> dict[str, Problem]:
        """Return the problem with its features centered, as they come, and shifted, by name."""
        train, _ = problem.train
        mean = train.mean(dim=0)
        spread = (train - mean).square().mean().sqrt()
        centered = (problem.features - mean) / spread
        features = {CENTERED: centered, "x": problem.features / spread} | {
            f"{CENTERED} {'-' if shift < 0 else '+'} {abs(shift):g}": centered + shift
            for shift in self.shifts
        }
        return {name: problem.with_features(each) for name, each in features.items()}

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: what is not centered is slower, and zig-zags."""
        epochs, cosines = racers(rows), means(rows, "mean_cosine", by="name")
        signs = means(rows, "equal_signs", by="name")
        centered, *others = epochs
        zigzag = {f"{n} zig-zag": cosines[n] <= cosines[centered] - TURN for n in others}
        slow = {f"{n} slower": epochs[n].is_slower(epochs[centered], SLOWER) for n in others}
        return Judgement(
            zigzag | slow,
            {"target": rows[0]["target"], "epochs": epochs, "cosines": cosines, "signs": signs},
            is_clear=any(each.reached for each in epochs.values()),
        )


@torch.no_grad()
def take_back_(network: nn.Module, mean: Tensor) -> nn.Module:
    """Let the first layer's biases take back the mean ``(num_features,)`` of the features."""
    first = next(each for each in network.modules() if isinstance(each, nn.Linear))
    first.bias.sub_(first.weight @ mean)
    return network


def descend(
    network: nn.Module, features: Tensor, labels: Tensor, *, lr: float, steps: int
) -> Tensor:
    """Return the gradient of the first layer's weights in each step of gradient descent.

    All rows are in each step, so that no choice of rows turns it.

    Args:
        network: A `Head`; it is left as it is.
        features: ``(B, num_features)``.
        labels: ``(B,)``.
        lr: Learning rate.
        steps: Number of steps.

    Returns:
        ``(steps, width, num_features)``.
    """
    network, found = copy.deepcopy(network).train(), []
    for _ in range(steps):
        each = training.gradients(network, features, labels)
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), each, strict=True):
                parameter.sub_(lr * gradient)
        found.append(each[0])
    return torch.stack(found)


def equal_signs(features: Tensor) -> float:
    """Return how often two weights of a unit have gradients of equal sign for one row.

    The gradient of a weight for one row is the input times the error of the unit (LeCun et al.,
    1998, section 4.3), so that it is how often two inputs of a row have one sign. Inputs of 0 do
    not count.

    Args:
        features: ``(rows, num_features)``.

    Returns:
        The share of the pairs, NaN if there is none.
    """
    positive, negative = ((sign * features > 0).sum(dim=1).double() for sign in (1, -1))
    equal, pairs = (n * (n - 1) for n in (torch.stack([positive, negative]), positive + negative))
    return float(equal.sum() / pairs.sum())


def turns(gradients: Tensor) -> Tensor:
    """Return the cosine ``(steps - 1)`` between successive gradients, NaN where one is zero."""
    flat = gradients.flatten(1)
    norms = flat.norm(dim=1)
    cosines: Tensor = (flat[1:] * flat[:-1]).sum(dim=1) / (norms[1:] * norms[:-1])
    return cosines
