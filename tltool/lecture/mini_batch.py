"""Mini-batches: their gradient is a noisy estimate of the whole one."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement, setting
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, means

START, END = "at the start", "after training"
POWER = 0.1
"""How far from -1/2 a power of the batch size may be."""


@dataclass(frozen=True)
class MiniBatch(Claim):
    """The noise of the gradient by batch size, and the loss for equal numbers of images.

    Each batch size chooses its learning rate of plain SGD, by the training loss at the end. The
    training loss is that of all training rows after each epoch, so that it means the same for all.

    Args:
        batch_sizes: Numbers of rows whose gradient is compared with that of all, rising.
        draws: Batches of each at least; more where every row would not come otherwise.
        trained_sizes: Numbers of rows in a step of a training; all rows in one step are tried too.
        hidden_features: Width of each hidden layer.
        lrs: Learning rates to choose from.
        epochs: Length of the training, in passes over the training rows.
        seeds: Number of seeds.
    """

    panels = (
        ClaimPanel("rows", "error", "stage", "rows in the batch", "relative error", log="xy"),
        ClaimPanel("images", "loss", "series", "images seen", "loss of all training rows", log="y"),
    )

    batch_sizes: Sequence[int] = setting((1, 4, 16, 64, 256), at_least=2, rising=True)
    draws: int = 100
    trained_sizes: Sequence[int] = (8, 32, 128)
    hidden_features: Sequence[int] = (64,)
    lrs: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    epochs: int = 10
    seeds: int = 3

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`: rows of trainings, all rows in one step last, and rows of noise."""
        problem = problem.standardized()
        trained = self.train(problem)
        sizes = list(groups(trained, "rows").values())
        noise: list[Row] = []
        for row in sizes[len(sizes) // 2]:
            new = training.build_head(row["head"], problem, seed=row["seed"])
            for stage, network in ((START, new), (END, training.trained_head(row, problem))):
                for size in self.batch_sizes:
                    sample = {"batch_size": size, "draws": self.draws, "seed": row["seed"]}
                    error = gradient_error(network, *problem.train, **sample)
                    found = {"stage": stage, "rows": size, "seed": row["seed"]}
                    noise.append(found | {"error": error})
        return trained + noise

    def train(self, problem: Problem) -> list[Row]:
        """Return the rows of each batch size at its best learning rate, all rows in one step last.

        ``loss`` is that of all training rows after each epoch.
        """
        train = problem.split.train
        problem = replace(problem, split=replace(problem.split, val=train))
        images = [epoch * len(train) for epoch in range(1, self.epochs + 1)]
        rows = []
        for size in sorted({min(size, len(train)) for size in (*self.trained_sizes, len(train))}):
            series = f"{'all ' if size == len(train) else ''}{size} rows a step:"
            head = {"hidden_features": list(self.hidden_features)}
            networks = [{"series": series, "rows": size, "images": images, "head": head}]
            sgd = training.constant_lr(self.epochs, size, training.PLAIN_SGD)
            found = training.train_grid(problem, networks, self.lrs, self.seeds, **sgd)
            rows += [row | {"loss": row["run"].val_losses} for row in training.choose_lrs(found)]
        return rows

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: the error falls as stated, and a mini-batch ends lower than all rows.

        The power is judged at both stages, without seeds in which no gradient is left; the loss for
        as many images, beyond the range over seeds. Where every step takes all rows, it is not
        clear.
        """
        noise = [row for row in rows if not math.isnan(row.get("error", math.nan))]
        powers = {}
        for stage, each in groups(noise, "stage").items():
            seeds = groups(each, "seed").values()
            slopes = [slope(self.batch_sizes, [row["error"] for row in seed]) for seed in seeds]
            powers[f"{stage}:"] = statistics.fmean(slopes)
        last = [row | {"end": row["loss"][-1]} for row in rows if "loss" in row]
        *small, whole = ([row["end"] for row in each] for each in groups(last, "series").values())
        lower = any(max(each) < min(whole) for each in small if sum(each) < math.inf)
        is_noise = bool(powers) and all(abs(each + 0.5) <= POWER for each in powers.values())
        return Judgement(
            {"error goes by 1 / sqrt(rows)": is_noise, "mini-batch ends lower than all": lower},
            {"powers": powers, "losses": means(last, "end", by="series")},
            is_clear=bool(small),
        )


def gradient_error(
    network: nn.Module, features: Tensor, labels: Tensor, *, batch_size: int, draws: int, seed: int
) -> float:
    """Return how far the gradients ``g_B`` of random batches are from that of all rows, ``g``.

    The batches together hold every row equally often, and a row may come twice in one: a batch may
    be larger than the data, and the error of ``B`` rows is that of one by ``sqrt(B)``.

    Args:
        network: It is left in evaluation mode, without gradients.
        features: ``(N, num_features)``.
        labels: ``(N,)``.
        batch_size: Rows in a batch.
        draws: Number of batches at least; so many that every row comes.
        seed: Of the draws.

    Returns:
        Root mean square of ``|g_B - g| / |g|``; NaN where no gradient is left.
    """
    number = max(draws, math.ceil(len(features) / batch_size))
    # Once a network has learned, a few rows make up the gradient: drawn each for itself they would
    # often be missed. From a deck that holds every row equally often they are not.
    generator = torch.Generator().manual_seed(seed)
    deck = torch.randperm(number * batch_size, generator=generator) % len(features)

    def gradient(rows: Tensor | slice) -> Tensor:
        found = training.gradients(network.eval(), features[rows], labels[rows])
        return torch.cat([each.flatten() for each in found])

    whole = gradient(slice(None))
    errors = [(gradient(rows) - whole).norm() for rows in torch.split(deck, batch_size)]
    return float(torch.stack(errors).square().mean().sqrt() / whole.norm())


def slope(sizes: Sequence[int], errors: Sequence[float]) -> float:
    """Return the power of the batch size that the error goes by, from a line through logarithms.

    Example:
        >>> round(slope([1, 4, 16], [2.0, 1.0, 0.5]), 2)
        -0.5
    """
    logs = [math.log(max(error, 1e-12)) for error in errors]
    return statistics.linear_regression([math.log(size) for size in sizes], logs).slope
