"""Inputs that are not zero-centered make the weights zig-zag."""

import copy
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Panel
from tltool.lecture.problem import Problem
from tltool.lecture.race import LOSSES, check_race, loss_to_reach, race, racers
from tltool.lecture.table import Row, groups
from tltool.lecture.training import PLAIN_SGD, build_head, constant_lr, mlp, train_networks

CENTERED = "x - mean"
SLOWER = 1.5
"""From how many times the epochs on something is slower: a step of `lrs` may cost 1.4 times."""
TURN = 0.5
"""By how much the mean cosine of successive updates falls where they zig-zag."""
ROWS_OF_SIGNS = 64


@dataclass(frozen=True)
class ZeroCentered(Experiment):
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

    Raises:
        ValueError: If a value is out of its range.
    """

    title = "Zero-centered inputs"
    claim = (
        "Where all inputs of a unit have one sign, so have the gradients of all its weights: they "
        "zig-zag, and learn slowly."
    )
    source = "CS231n; LeCun et al., 1998, section 4.3, https://doi.org/10.1007/3-540-49430-8_2"
    shows = ("sigmoid", "relu")
    number = (
        "epochs to a training loss of {target:.2g}: {epochs}; mean cosine of successive steps: "
        "{cosines:.2f}"
    )
    text = (
        "Pairs of weights of a unit whose gradients for one row have one sign: {signs:.0%}. A mean "
        "cosine of 0.5 less than the centered features' counts as zig-zag, 1.5 times the epochs "
        "with no seed between as slower. Centering is free: set `input_norm: center`, or "
        "`standardize`, in the head."
    )
    panels = (
        LOSSES,
        Panel("step on all rows", "cosines", "name", ylabel="cosine to the step before"),
    )

    shifts: Sequence[float] = (2.0, 4.0)
    activation: str = "tanh"
    width: int = 64
    lrs: Sequence[float] = tuple(round(10 ** (third / 3), 4) for third in range(-9, 4))
    target: float = 0.1
    epochs: int = 25
    batch_size: int = 128
    max_rows: int = 1200
    steps: int = 30
    seeds: int = 3

    def __post_init__(self) -> None:
        check_race(lrs=self.lrs, seeds=self.seeds, target=self.target)
        require(
            0 not in self.shifts,
            f"`shifts` must not hold 0, got {list(self.shifts)}: the centered features are "
            "compared with in any case.",
        )
        require(self.steps >= 2, f"`steps` must be at least 2, got {self.steps}: two are compared.")

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`."""
        settings, rows = constant_lr(self.epochs, self.batch_size), list[Row]()
        for name, variant in self.variants(problem.only_training(self.max_rows)).items():

            def start(network: nn.Module, variant: Problem = variant) -> None:
                _take_back(network, variant)

            options: dict[str, Any] = {"optimizer": PLAIN_SGD, "start": start}
            networks = [{"name": name, "head": self._head}]
            trained = train_networks(variant, networks, self.lrs, self.seeds, settings, **options)
            raced = race(trained, loss_to_reach(self.target, variant.num_classes))
            rows += [row | self.movement(variant, row["seed"], row["lr"]) for row in raced]
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

    def movement(self, problem: Problem, seed: int, lr: float) -> Row:
        """Return how the first layer moves at the start, as columns.

        ``equal_signs`` is a share of pairs of weights; ``cosines`` are those of each two successive
        updates on all rows at once, so that no choice of rows turns them: 1 is straight on, -1
        straight back.
        """
        features, labels = problem.train
        network = self.network(problem, seed=seed)
        few = zip(features[:ROWS_OF_SIGNS, None], labels[:ROWS_OF_SIGNS, None], strict=True)
        cosines = turns(descend(network, [(features, labels)] * self.steps, lr=lr))
        return {
            "equal_signs": equal_signs(descend(network, few, lr=0.0)),
            "mean_cosine": _finite_mean(cosines.tolist()),
            "cosines": functional.pad(cosines, (1, 0), value=math.nan),  # Of each step.
        }

    def network(self, problem: Problem, *, seed: int) -> nn.Module:
        """Return a new network that says what the one of the centered features says."""
        network = build_head(self._head, problem, seed=seed)
        _take_back(network, problem)
        return network

    @property
    def _head(self) -> dict[str, Any]:
        return mlp(self.width, 1, activation=self.activation)

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: what is not centered is slower, and zig-zags."""
        epochs, by_name = racers(rows), groups(rows, "name")
        cosines, signs = (
            {name: _finite_mean([row[column] for row in each]) for name, each in by_name.items()}
            for column in ("mean_cosine", "equal_signs")
        )
        others = [name for name in by_name if name != CENTERED]
        slow = {name: epochs[name].is_slower(epochs[CENTERED], SLOWER) for name in others}
        zigzag = {name: cosines[name] <= cosines[CENTERED] - TURN for name in others}
        told = {"epochs": _told(epochs), "cosines": _told(cosines), "signs": _told(signs)}
        return Judgement(
            {"zig-zag": zigzag, "slower than centered": slow},
            {"target": rows[0]["target"], **told},
            is_clear=any(each.reached for each in epochs.values()),
        )


def descend(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, lr: float) -> Tensor:
    """Return the gradient of the first layer's weights in each step of plain gradient descent.

    Args:
        network: An `Head`; it is left as it is.
        batches: Features ``(B, num_features)`` and labels ``(B,)`` of each step.
        lr: Learning rate.

    Returns:
        ``(steps, width, num_features)``.
    """
    network = copy.deepcopy(network).train()
    parameters, found = list(network.parameters()), []
    for features, labels in batches:
        loss = functional.cross_entropy(network(features), labels)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(lr * gradient)
        found.append(gradients[0])
    return torch.stack(found)


def equal_signs(gradients: Tensor) -> float:
    """Return how often two weights of a unit have gradients of equal sign.

    The gradient of a weight for one row is the input times the error of the unit, so that inputs
    of one sign give all weights of the unit gradients of one sign (LeCun et al., 1998, section
    4.3). Pairs in which a gradient is 0 do not count.

    Args:
        gradients: Of single rows, ``(rows, width, num_features)``.

    Returns:
        The share of the pairs, NaN if there is none.
    """
    positive, negative = ((sign * gradients > 0).sum(dim=2).double() for sign in (1, -1))
    equal, pairs = _pairs(positive) + _pairs(negative), _pairs(positive + negative)
    return float(equal.sum() / pairs.sum())


def turns(gradients: Tensor) -> Tensor:
    """Return the cosine ``(steps - 1)`` between successive gradients, NaN where one is zero."""
    flat = gradients.flatten(1)
    norms = flat.norm(dim=1)
    cosines: Tensor = (flat[1:] * flat[:-1]).sum(dim=1) / (norms[1:] * norms[:-1])
    return cosines


def _take_back(network: nn.Module, problem: Problem) -> None:
    """Let the first layer's biases take back the mean of the features."""
    first = network.first_linear
    assert isinstance(first, nn.Linear)  # noqa: S101  # Head's
    with torch.no_grad():
        first.bias.sub_(first.weight @ problem.train[0].mean(dim=0))


def _pairs(number: Tensor) -> Tensor:
    return number * (number - 1) / 2


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}:": value for name, value in values.items()}  # Names end in numbers.


def _finite_mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.nan
