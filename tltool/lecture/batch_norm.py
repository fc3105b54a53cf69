"""Batch norm: it widens the range of learning rates and initial scales, and has two modes."""

import copy
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor, nn

from tltool._spec import Spec
from tltool.lecture import training
from tltool.lecture.claim import Claim, Judgement, setting
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, where

NORMS: Mapping[str, str | None] = {"without": None, "batch norm": "batch"}
LR, SCALE, FLOW, MODES = "learning rate", "initial scale", "gradient at the start", "modes"
LOSS = ClaimPanel(
    "at", "value", "norm", LR, "training loss", {"measure": LR}, "x", False, "bound", 2.5
)


@dataclass(frozen=True)
class BatchNormRange(Claim):
    """Which learning rates and initial scales train a deep network, with and without batch norm.

    A network trains if in the last epoch the training loss of each seed is below a share of the
    loss of knowing nothing but how frequent the classes are. Learning rates are tried from the
    initializer that suits the activation; each initial scale takes the best of every second one.

    Args:
        lrs: Learning rates of plain SGD, rising.
        scales: Standard deviations of the normal distribution of the hidden weights, rising.
        hidden_layers: Number of hidden layers.
        width: Units of each.
        activation: Behind each.
        batches: Numbers of rows in a batch in training mode, compared with evaluation; at least 2.
        steps: Length of a training, in steps, rounded up to whole epochs.
        batch_size: Rows in a step.
        share: Of the loss of knowing only the classes' frequencies, in ``(0, 1)``.
        seeds: Number of seeds.
    """

    panels = (LOSS, replace(LOSS, xlabel=SCALE, where={"measure": SCALE}))

    lrs: Sequence[float] = setting(
        (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0), rising=True
    )
    scales: Sequence[float] = setting(
        (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0), rising=True
    )
    hidden_layers: int = 5
    width: int = 32
    activation: str = "relu"
    batches: Sequence[int] = setting((2, 4, 8, 16, 32, 64, 128), above=1)
    steps: int = 100
    batch_size: int = 128
    share: float = setting(0.5, below=1)
    seeds: int = 3

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; each row is a ``value`` of a ``measure`` at what is varied."""
        problem = problem.standardized().without_val()
        bound = self.share * problem.guess_loss
        found = [(name, row) for name, norm in NORMS.items() for row in self.measure(problem, norm)]
        return [row | {"norm": name, "bound": bound} for name, row in found]

    def measure(self, problem: Problem, norm: str | None) -> Iterator[Row]:
        """Yield the value of each measure at each place and seed, without or with a norm."""
        by_lr = self.train(problem, norm, "auto", self.lrs)
        for row in by_lr:
            yield _row(LR, row["lr"], row, row["training_loss"])
        for row in training.choose_lrs(by_lr):
            network = training.trained_head(row, problem)
            for size in self.batches:
                difference = mode_difference(network, problem.train[0], size)
                yield _row(MODES, size, row, difference)
        for scale in self.scales:
            tried = self.train(problem, norm, {"name": "normal", "std": scale}, self.lrs[::2])
            for row in training.choose_lrs(tried):
                yield _row(SCALE, scale, row, row["training_loss"])
                network = training.build_head(row["head"], problem, seed=row["seed"])
                batch = (each[: self.batch_size] for each in problem.train)
                yield _row(FLOW, scale, row, flow(network, *batch))

    def train(
        self, problem: Problem, norm: str | None, initializer: Spec, lrs: Sequence[float]
    ) -> list[Row]:
        """Return the rows of a network without or with a norm, at each learning rate and seed."""
        epochs = math.ceil(self.steps / math.ceil(len(problem.split.train) / self.batch_size))
        sgd = training.constant_lr(epochs, self.batch_size, training.PLAIN_SGD)
        options = {"activation": self.activation, "norm": norm, "initializer": initializer}
        networks = [{"head": training.mlp(self.width, self.hidden_layers, **options)}]
        return training.train_grid(problem, networks, lrs, self.seeds, **sgd)

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: three ranges are wider, or narrower, and the modes differ."""
        norms = [groups(each, "measure") for each in groups(rows, "norm").values()]
        lrs, scales = ([trained_range(each[name]) for each in norms] for name in (LR, SCALE))
        flows = [decades(each[FLOW]) for each in norms]
        smallest = [where(each[MODES], at=self.batches[0]) for each in norms]
        modes = [statistics.fmean(row["value"] for row in each) for each in smallest]
        return Judgement(
            {
                "higher learning rates": max(lrs[1], default=0) > max(lrs[0], default=0),
                "more initial scales": _width(scales[1]) > _width(scales[0]),
                "half the spread of the gradient": flows[1] <= flows[0] / 2 and flows[1] < math.inf,
                "the modes differ by over 1 % of a standard deviation": modes[1] > 0.01,
            },
            {"lrs": [describe_range(each, self.lrs) for each in lrs], "flow": flows}
            | {"scales": [describe_range(each, self.scales) for each in scales], "modes": modes},
            is_clear=any((*lrs, *scales)),
        )


def flow(network: nn.Module, features: Tensor, labels: Tensor) -> float:
    """Return how much the loss hangs on the first layer: what a small relative change of it does.

    It is the norm of the gradient of the first layer's weights times the norm of the weights,
    whatever their scale.

    Args:
        network: A new `Head`; its norms take the statistics of the rows.
        features: ``(B, num_features)``.
        labels: ``(B,)``.
    """
    first = training.gradients(network.train(), features, labels)[0]
    return float(first.norm() * next(network.parameters()).detach().norm())


@torch.no_grad()
def mode_difference(network: nn.Module, features: Tensor, batch_size: int) -> float:
    """Return how far the logits of the same rows are apart in training and evaluation mode.

    Args:
        network: It is left as it is.
        features: ``(N, num_features)``.
        batch_size: Rows that a batch in training mode holds; all of them if there are fewer.

    Returns:
        The root mean square of the differences, relative to the standard deviation of the logits in
        evaluation.
    """
    network = copy.deepcopy(network)  # Training mode moves the running statistics.
    # Rows may lie in the order of their classes.
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
    size = min(batch_size, len(order))
    batches = torch.split(features[order[: len(order) // size * size]], size)
    evaluated = torch.cat([network.eval()(rows) for rows in batches])
    trained = torch.cat([network.train()(rows) for rows in batches])
    return float((trained - evaluated).square().mean().sqrt() / evaluated.std().clamp_min(1e-12))


def trained_range(rows: Sequence[Row]) -> list[float]:
    """Return the widest run of neighboring values at which each seed's loss is below the bound.

    Args:
        rows: Those of rising values, with ``at``, ``value`` and ``bound``.
    """
    found = groups(rows, "at")
    trains = {at: all(r["value"] < r["bound"] for r in seeds) for at, seeds in found.items()}
    runs = [list(run) for is_trained, run in groupby(trains, key=trains.get) if is_trained]
    return max(runs, key=_width, default=[])


def decades(rows: Sequence[Row]) -> float:
    """Return over how many powers of ten the medians of the seeds spread, ``inf`` from 0 on."""
    seeds = groups(rows, "at").values()
    medians = [statistics.median(row["value"] for row in each) for each in seeds]
    is_finite = all(0 < value < math.inf for value in medians)
    return math.log10(max(medians) / min(medians)) if is_finite else math.inf


def describe_range(values: Sequence[float], tried: Sequence[float]) -> str:
    """Return a range as text, and where it ends only because no other value was tried.

    Args:
        values: The values of the range, rising.
        tried: All values that were tried.

    Example:
        >>> describe_range([0.1, 1.0, 10.0], [0.1, 1.0, 10.0, 100.0]), describe_range([1.0], [1.0])
        ('0.1 (or less) to 10', '1 alone')
        >>> describe_range([], [1.0])
        'none'
    """
    if len(values) < 2:
        return f"{values[0]:g} alone" if values else "none"
    below = " (or less)" if values[0] == min(tried) else ""
    above = " (or more)" if values[-1] == max(tried) else ""
    return f"{values[0]:g}{below} to {values[-1]:g}{above}"


def _row(measure: str, at: float, row: Row, value: float) -> Row:
    return {"measure": measure, "at": at, "seed": row["seed"], "value": value}


def _width(values: Sequence[float]) -> float:
    """Return over how many decades a range goes: 0 for one value, -1 for none."""
    return math.log10(values[-1] / values[0]) if values else -1.0
