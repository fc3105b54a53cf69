"""Cost of the exponential in an activation: time alone and in a step of training."""

import statistics
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tltool._lookup import lookup
from tltool.layers.activations import ACTIVATIONS, create_activation
from tltool.lecture.claim import Claim, Judgement, require, setting
from tltool.lecture.pictures import ClaimPanel
from tltool.lecture.problem import Problem
from tltool.lecture.table import Each, Row, where
from tltool.lecture.training import build_head

DEAR = 1.2
"""From how many times relu's time on an activation is said to be dear."""
WARM_UP = 3
"""Rounds that do not count: the first ones allocate."""
ALONE, STEP = "forward and backward alone", "a step of training"


@dataclass(frozen=True)
class ExpCost(Claim):
    """The time of each activation, alone and in a step of training, as multiples of relu's.

    Args:
        activations: Activations, one that computes an exponential among them; relu takes part in
            any case. Maxout, which is a layer, cannot.
        rows: Rows of the tensor that each reads alone.
        width: Its columns.
        hidden_features: Width of each hidden layer of the network.
        batch_size: Rows in a step of its training.
        rounds: How often each is timed, in turns.

    Raises:
        ValueError: If a name is unknown, no activation computes an exponential, or there are fewer
            than 4 rounds.
    """

    panels = (
        ClaimPanel("activation", "times_relu", "timed", ylabel="times relu's time", ticks=True),
    )

    activations: Sequence[str] = (
        *("relu", "leaky_relu", "sigmoid", "tanh"),
        *("elu", "selu", "silu", "gelu"),
    )
    rows: int = 1024
    width: int = 256
    hidden_features: Sequence[int] = (256,)
    batch_size: int = 256
    rounds: int = setting(50, above=3)

    def __post_init__(self) -> None:
        super().__post_init__()
        entries = [lookup(ACTIVATIONS, name, kind="activation") for name in self.activations]
        require(
            any(entry.uses_exp for entry in entries),
            f"`activations` must hold one that computes an exponential, got {self.activations}.",
        )

    def run(self, problem: Problem) -> list[Row]:
        """See `Claim`; all are timed in turns, so that other load meets all alike."""
        problem = problem.standardized()
        names = list(dict.fromkeys(("relu", *self.activations)))
        timed = {n: {ALONE: self.alone(n), STEP: self.step(problem, n)} for n in names}
        seconds: dict[tuple[str, str], list[float]] = {(n, m): [] for n in names for m in timed[n]}
        for number in range(WARM_UP + self.rounds):
            shift = number % len(names)  # Nobody always comes behind the same one.
            for name in names[shift:] + names[:shift]:
                for measure, function in timed[name].items():
                    seconds[name, measure].append(timeit.timeit(function, number=1))
        return [
            {"activation": name, "timed": measure, **row}
            for (name, measure), each in seconds.items()
            for row in quartiles(each[WARM_UP:], seconds["relu", measure][WARM_UP:])
        ]

    def alone(self, activation: str) -> Callable[[], object]:
        """Return a function that makes a forward and a backward pass."""
        generator = torch.Generator().manual_seed(0)
        inputs, gradient = torch.randn(2, self.rows, self.width, generator=generator)
        module = create_activation(activation, num_channels=self.width)
        leaves = [inputs.requires_grad_(), *module.parameters()]
        return lambda: torch.autograd.grad(module(inputs), leaves, gradient)

    def step(self, problem: Problem, activation: str) -> Callable[[], object]:
        """Return a function that makes a step of training and returns its loss.

        Rows come again where there are fewer than in a batch.
        """
        head = {"hidden_features": list(self.hidden_features), "activation": activation}
        network = build_head(head, problem, seed=0).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
        rows = torch.arange(self.batch_size) % len(problem.split.train)
        features, labels = (each[rows] for each in problem.train)

        def run() -> Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(features), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
            return loss.detach()

        return run

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Claim`: three quarters of the rounds take over 1.2 times relu's time."""
        exp = [row for row in rows if ACTIVATIONS[row["activation"]].uses_exp]

        def times(timed: str, percent: int) -> Each:
            found = where(exp, timed=timed, percent=percent)
            return Each({row["activation"]: row["times_relu"] for row in found})

        steps, lows = times(STEP, 50), times(ALONE, 25)
        slowest = max(steps, key=steps.__getitem__)
        return Judgement(
            {f"{name} over 1.2 times relu's time": low > DEAR for name, low in lows.items()},
            {"alone": times(ALONE, 50), "slowest": slowest, "most": steps[slowest]},
        )


def quartiles(seconds: Sequence[float], relu: Sequence[float]) -> list[Row]:
    """Return the quartiles of times, and of their ratios to relu's in the same round."""
    ratios = [mine / its for mine, its in zip(seconds, relu, strict=True)]
    of_both = zip((25, 50, 75), *map(statistics.quantiles, (seconds, ratios)), strict=True)
    return [{"percent": p, "seconds": s, "times_relu": ratio} for p, s, ratio in of_both]
