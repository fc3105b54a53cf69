"""The gradient of a mini-batch is a noisy estimate of the whole one."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool.lecture import training
from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Panel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, means

START, END = "at the start", "after training"
POWER = 0.1
"""How far from -1/2 a power of the batch size may be."""


@dataclass(frozen=True)
class MiniBatch(Experiment):
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

    Raises:
        ValueError: If batch sizes are too few or do not rise, or a number is below 1.
    """

    title = "Mini-batches"
    claim = "The gradient of a mini-batch is a noisy estimate of the whole one, and good enough."
    source = "CS231n; Bottou et al., 2018, section 4.2, https://arxiv.org/abs/1606.04838"
    number = (
        "error of the gradient goes by the batch size to the power {powers:.2f}; training loss "
        "after as many images: {losses:.2g}"
    )
    text = (
        "The gradient of a batch of {self.batch_sizes[0]} is off by {errors:.1f} times the whole "
        "gradient, which is small after training; the error of rows drawn at random falls by the "
        "square root of their number. Test accuracy at the end: {accuracies:.3f}. Choose "
        "`batch_size` for speed, and the learning rate anew with it."
    )
    panels = (
        Panel(
            "rows", "error", "series", "rows in the batch", "relative error", log="xy", ticks=True
        ),
        Panel(
            "rows", "cosine", "series", "rows in the batch", "cosine with all", log="x", ticks=True
        ),
        Panel("images", "loss", "series", "images seen", "loss of all training rows", log="y"),
    )

    batch_sizes: Sequence[int] = (1, 4, 16, 64, 256)
    draws: int = 100
    trained_sizes: Sequence[int] = (8, 32, 128)
    hidden_features: Sequence[int] = (64,)
    lrs: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    epochs: int = 10
    seeds: int = 3

    def __post_init__(self) -> None:
        sizes = list(self.batch_sizes)
        require(
            len(sizes) >= 2 and sizes == sorted(set(sizes)),
            f"`batch_sizes` must hold at least 2 sizes, rising, got {sizes}.",
        )
        require(self.trained_sizes, "`trained_sizes` must hold at least 1 size, got none.")
        least = min(*sizes, *self.trained_sizes, self.draws, self.seeds)
        require(
            least >= 1,
            f"`batch_sizes`, `trained_sizes`, `draws` and `seeds` must be at least 1, got {least}.",
        )

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`: rows of trainings, all rows in one step last, and rows of noise."""
        problem = problem.standardized()
        trained = self.train(problem)
        sizes = list(groups(trained, "rows").values())
        found = []
        for row in sizes[len(sizes) // 2]:
            new = training.build_head(row["head"], problem, seed=row["seed"])
            for series, network in ((START, new), (END, training.trained_head(row, problem))):
                for size in self.batch_sizes:
                    batches = {"batch_size": size, "draws": self.draws, "seed": row["seed"]}
                    noise = gradient_noise(network, *problem.train, **batches)
                    shared = {"series": series, "rows": size, "seed": row["seed"]}
                    found.append({**shared, "error": noise.error, "cosine": noise.cosine})
        return trained + found

    def train(self, problem: Problem) -> list[Row]:
        """Return the rows of each batch size at its best learning rate, all rows in one step last.

        ``loss`` is that of all training rows after each epoch.
        """
        train = problem.split.train
        problem = replace(problem, split=replace(problem.split, val=train))
        images = [epoch * len(train) for epoch in range(1, self.epochs + 1)]
        rows = []
        for size in sorted({min(size, len(train)) for size in (*self.trained_sizes, len(train))}):
            series = f"{'all ' if size == len(train) else ''}{size} rows a step"
            head = {"hidden_features": list(self.hidden_features)}
            networks = [{"series": series, "rows": size, "images": images, "head": head}]
            settings, sgd = training.constant_lr(self.epochs, size), training.PLAIN_SGD
            found = training.train_networks(
                problem, networks, self.lrs, self.seeds, settings, optimizer=sgd
            )
            rows += [row | {"loss": row["run"].val_losses} for row in training.choose_lrs(found)]
        return rows

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: the error falls as stated, and a mini-batch ends lower than all rows.

        The power is judged at both stages, without seeds in which no gradient is left; the loss for
        as many images, beyond the range over seeds. Where every step takes all rows, it is not
        clear.
        """
        powers, errors = {}, {}
        for stage in (START, END):
            seeds = groups((row for row in rows if row["series"] == stage), "seed").values()
            curves = [[row["error"] for row in each] for each in seeds if each[0]["error"] > 0]
            if curves:
                powers[f"{stage}:"] = statistics.fmean(slope(self.batch_sizes, e) for e in curves)
                errors[f"{stage}:"] = statistics.fmean(each[0] for each in curves)
        last = [row | {"end": row["loss"][-1]} for row in rows if "loss" in row]
        ends = {name: [row["end"] for row in each] for name, each in groups(last, "series").items()}
        *small, whole = ends.values()
        lower = any(max(each) < min(whole) for each in small if sum(each) < math.inf)
        is_noise = bool(powers) and all(abs(each + 0.5) <= POWER for each in powers.values())
        return Judgement(
            {"error goes by 1 / sqrt(rows)": is_noise, "mini-batch ends lower than all": lower},
            {"powers": powers, "errors": errors}
            | {"losses": {f"{n}:": each for n, each in means(last, "end", by="series").items()}}
            | {"accuracies": means(last, "accuracy", by="series")},
            is_clear=bool(small),
        )


class Noise(NamedTuple):
    """How far the gradients of batches are from the whole one.

    Attributes:
        error: Root mean square of ``|g_B - g| / |g|``; NaN where no gradient is left.
        cosine: Mean cosine of the angle between them; NaN likewise.
    """

    error: float
    cosine: float


def gradient_noise(
    network: nn.Module, features: Tensor, labels: Tensor, *, batch_size: int, draws: int, seed: int
) -> Noise:
    """Return how far the gradients of random batches are from that of all rows.

    The batches together hold every row equally often, and a row may come twice in one: a batch may
    be larger than the data, and the error of ``B`` rows is that of one by ``sqrt(B)``.

    Args:
        network: It is left in evaluation mode, without gradients.
        features: ``(N, num_features)``.
        labels: ``(N,)``.
        batch_size: Rows in a batch.
        draws: Number of batches at least; so many that every row comes.
        seed: Of the draws.
    """
    number = max(draws, math.ceil(len(features) / batch_size))
    # Once a network has learned, a few rows make up the gradient: drawn each for itself they would
    # often be missed. From a deck that holds every row equally often they are not.
    generator = torch.Generator().manual_seed(seed)
    deck = torch.randperm(number * batch_size, generator=generator) % len(features)
    whole = _gradient(network, features, labels)
    norm = whole.norm()
    if not norm > 0:
        return Noise(math.nan, math.nan)
    errors, cosines = [], []
    for rows in torch.split(deck, batch_size):
        gradient = _gradient(network, features[rows], labels[rows])
        errors.append(float((gradient - whole).norm() / norm))
        cosines.append(float(functional.cosine_similarity(gradient, whole, dim=0)))
    return Noise(math.sqrt(statistics.fmean(e * e for e in errors)), statistics.fmean(cosines))


def slope(sizes: Sequence[int], errors: Sequence[float]) -> float:
    """Return the power of the batch size that the error goes by, from a line through logarithms.

    Example:
        >>> round(slope([1, 4, 16], [2.0, 1.0, 0.5]), 2)
        -0.5
    """
    x = [math.log(size) for size in sizes]
    y = [math.log(max(error, 1e-12)) for error in errors]
    return statistics.linear_regression(x, y).slope


def _gradient(network: nn.Module, features: Tensor, labels: Tensor) -> Tensor:
    loss = functional.cross_entropy(network.eval()(features), labels)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])
