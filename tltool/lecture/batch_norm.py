"""Batch norm widens the range of learning rates and initial scales, and has two modes."""

import copy
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool.comparison.head_stack import TrainedHead
from tltool.lecture import training
from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Panel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row, groups, where
from tltool.lecture.training import build_head, mlp

NORMS: Mapping[str, str | None] = {"without": None, "batch norm": "batch"}
LR, SCALE, FLOW, MODES = "learning rate", "initial scale", "gradient at the start", "modes"
_LOSS: Mapping[str, Any] = {"ylabel": "training loss (gray: trains)", "level": "bound", "cap": 2.5}


@dataclass(frozen=True)
class BatchNormRange(Experiment):
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

    Raises:
        ValueError: If learning rates or scales are not positive and rising, or another value is out
            of its range.
    """

    title = "Batch norm"
    claim = (
        "Batch norm improves the gradient flow, allows higher learning rates and reduces the "
        "dependence on initialization; it does different things in training and testing."
    )
    source = "CS231n; Ioffe & Szegedy, 2015, section 3, https://arxiv.org/abs/1502.03167"
    number = (
        "trains at learning rates {lrs[0]} without and {lrs[1]} with batch norm, from initial "
        "scales {scales[0]} and {scales[1]}; the first layer's gradient spreads over {flow[0]:.1f} "
        "decades and {flow[1]:.1f} decades"
    )
    text = (
        "Each initial scale at its best learning rate. In batches of {self.batches[0]} the logits "
        "of a trained network differ by {modes[1]:.2f} standard deviations between training and "
        "evaluation mode (without: {modes[0]:.2f}). So evaluate in evaluation mode, freeze batch "
        "norm together with its group, and take `norm: layer` for small batches."
    )
    panels = (
        Panel("at", "value", "norm", LR, where={"measure": LR}, log="x", **_LOSS),
        Panel("at", "value", "norm", SCALE, where={"measure": SCALE}, log="x", **_LOSS),
        Panel(
            "at",
            "value",
            "norm",
            "rows in the batch",
            "logits: training less evaluation",
            where={"measure": MODES},
            log="x",
            ticks=True,
        ),
    )

    lrs: Sequence[float] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
    scales: Sequence[float] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    hidden_layers: int = 5
    width: int = 32
    activation: str = "relu"
    batches: Sequence[int] = (2, 4, 8, 16, 32, 64, 128)
    steps: int = 100
    batch_size: int = 128
    share: float = 0.5
    seeds: int = 3

    def __post_init__(self) -> None:
        for name in ("lrs", "scales"):
            values = list(getattr(self, name))
            require(
                values and values == sorted(set(values)) and values[0] > 0,
                f"`{name}` must be positive and rising, got {values}.",
            )
        require(
            self.batches and min(self.batches) >= 2,
            f"`batches` must be numbers of at least 2, got {list(self.batches)}: one row has no "
            "variance to normalize by.",
        )
        for name in ("hidden_layers", "steps", "seeds"):
            value = getattr(self, name)
            require(value >= 1, f"`{name}` must be at least 1, got {value}.")
        require(0 < self.share < 1, f"`share` must be in (0, 1), got {self.share}.")

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`; each row is a ``value`` of a ``measure`` at what is varied."""
        problem = problem.standardized()
        bound = self.share * training.frequency_loss(problem.train[1])
        return [
            {"norm": name, "measure": measure, "at": at, "seed": seed, "value": value}
            | {"bound": bound}
            for name in NORMS
            for measure, by_place in self.measure(problem, name).items()
            for at, values in by_place.items()
            for seed, value in enumerate(values)
        ]

    def measure(self, problem: Problem, name: str) -> dict[str, dict[float, list[float]]]:
        """Return each measure without or with batch norm, by place and seed."""
        by_lr = self._train(problem, self._head(name, None), self.lrs)
        by_scale, flow = {}, {}
        for scale in self.scales:
            rows = self._train(problem, self._head(name, scale), self.lrs[::2])
            by_scale[scale] = [row["training_loss"] for row in training.choose_lrs(rows, _loss)]
            flow[scale] = self.flow(problem, name, scale)
        losses = {
            lr: [row["training_loss"] for row in rows] for lr, rows in groups(by_lr, "lr").items()
        }
        best = training.choose_lrs(by_lr, _loss)
        networks = [training.trained_head(row, problem) for row in best]
        modes = {
            float(size): [mode_difference(each, problem.train[0], size) for each in networks]
            for size in self.batches
        }
        return {LR: losses, SCALE: by_scale, FLOW: flow, MODES: modes}

    def _train(self, problem: Problem, head: Row, lrs: Sequence[float]) -> list[Row]:
        epochs = math.ceil(self.steps / math.ceil(len(problem.split.train) / self.batch_size))
        settings, sgd = training.constant_lr(epochs, self.batch_size), training.PLAIN_SGD
        networks = [{"head": head}]
        return training.train_networks(problem, networks, lrs, self.seeds, settings, optimizer=sgd)

    def _head(self, name: str, scale: float | None) -> dict[str, Any]:
        options = {"activation": self.activation, "norm": NORMS[name]}
        initializer = "auto" if scale is None else {"name": "normal", "std": scale}
        return mlp(self.width, self.hidden_layers, initializer=initializer, **options)

    def flow(self, problem: Problem, name: str, scale: float) -> list[float]:
        """Return how much the loss hangs on the first layer at the start, for each seed.

        The norm of the gradient of the first layer's weights, times the norm of the weights: what
        a small relative change of them does, whatever their scale.
        """
        features, labels = (rows[: self.batch_size] for rows in problem.train)
        found = []
        for seed in range(self.seeds):
            network = build_head(self._head(name, scale), problem, seed=seed).train()
            weight = next(m for m in network.modules() if isinstance(m, nn.Linear)).weight
            loss = functional.cross_entropy(network(features), labels)
            (gradient,) = torch.autograd.grad(loss, [weight])
            found.append(float(gradient.norm() * weight.detach().norm()))
        return found

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: three ranges are wider, or narrower, and the modes differ."""
        norms = groups(rows, "norm").values()
        lrs, scales = (
            [trained_range(where(each, measure=name)) for each in norms] for name in (LR, SCALE)
        )
        flow = [decades(where(each, measure=FLOW)) for each in norms]
        smallest = [where(each, measure=MODES, at=self.batches[0]) for each in norms]
        modes = [statistics.fmean(row["value"] for row in each) for each in smallest]
        return Judgement(
            {
                "higher learning rates": max(lrs[1], default=0) > max(lrs[0], default=0),
                "more initial scales": _width(scales[1]) > _width(scales[0]),
                "half the spread of the gradient": flow[1] <= flow[0] / 2 and flow[1] < math.inf,
            },
            {"lrs": [describe_range(each, self.lrs) for each in lrs], "flow": flow}
            | {"scales": [describe_range(each, self.scales) for each in scales], "modes": modes},
            besides={"the modes differ by over 1 % of a standard deviation": modes[1] > 0.01},
            is_clear=any((*lrs, *scales)),
        )


def _loss(run: TrainedHead) -> float:
    return run.train_losses[-1]


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
    runs: list[list[float]] = [[]]
    for at, seeds in groups(rows, "at").items():
        if all(row["value"] < row["bound"] for row in seeds):
            runs[-1].append(at)
        else:
            runs.append([])
    return max(runs, key=_width)


def decades(rows: Sequence[Row]) -> float:
    """Return over how many powers of ten the medians of the seeds spread, ``inf`` from 0 on."""
    medians = [
        statistics.median(row["value"] for row in seeds) for seeds in groups(rows, "at").values()
    ]
    if not all(0 < value < math.inf for value in medians):
        return math.inf
    return math.log10(max(medians) / min(medians))


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


def _width(values: Sequence[float]) -> float:
    """Return over how many decades a range goes: 0 for one value, -1 for none."""
    return math.log10(values[-1] / values[0]) if values else -1.0
