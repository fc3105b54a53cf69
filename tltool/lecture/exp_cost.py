"""What the exponential of an activation costs."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tltool._lookup import lookup
from tltool.layers.activations import ACTIVATIONS, create_activation
from tltool.lecture.experiment import Experiment, Judgement, require
from tltool.lecture.pictures import Dots
from tltool.lecture.problem import Problem
from tltool.lecture.table import Row
from tltool.lecture.training import build_head

DEAR = 1.2
"""From how many times relu's time on an activation is said to be dear."""
WARM_UP = 3
"""Rounds that do not count: the first ones allocate."""
QUARTILES = ("times_relu_low", "times_relu_high")


@dataclass(frozen=True)
class ExpCost(Experiment):
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

    title = "The cost of exp"
    claim = "The exponential of sigmoid, tanh and elu is a bit compute-expensive."
    source = "CS231n, https://cs231n.github.io/neural-networks-1/#actfun"
    shows = ("sigmoid", "tanh", "elu", "selu", "silu")
    number = (
        "times relu's time, forward and backward: {alone:.1f}; a whole step: at most {most:.2f} "
        "({slowest})"
    )
    text = (
        "Medians of {self.rounds} rounds in turns, on the CPU. A step of training takes "
        "{least:.2f} to {most:.2f} times relu's: where matrix products take the most of it, "
        "choose an activation by its accuracy. The library's way to an exponential decides which "
        "are dear."
    )
    panels = (
        Dots("times_relu", "activation", "alone, times relu's time\n(bars: quartiles)", *QUARTILES),
        Dots("step_times_relu", "activation", "step of training, times relu's time"),
    )

    activations: Sequence[str] = (
        *("relu", "leaky_relu", "sigmoid", "tanh"),
        *("elu", "selu", "silu", "gelu"),
    )
    rows: int = 1024
    width: int = 256
    hidden_features: Sequence[int] = (256,)
    batch_size: int = 256
    rounds: int = 50

    def __post_init__(self) -> None:
        entries = [lookup(ACTIVATIONS, name, kind="activation") for name in self.activations]
        require(
            any(entry.uses_exp for entry in entries),
            f"`activations` must hold one that computes an exponential, got "
            f"{list(self.activations)}. For example [sigmoid, tanh].",
        )
        require(self.rounds >= 4, f"`rounds` must be at least 4, for quartiles, got {self.rounds}.")

    def run(self, problem: Problem) -> list[Row]:
        """See `Experiment`; all are timed in turns, so that other load meets all alike."""
        problem = problem.standardized()
        names = list(dict.fromkeys(("relu", *self.activations)))
        generator = torch.Generator().manual_seed(0)
        inputs, gradient = torch.randn(2, self.rows, self.width, generator=generator)
        inputs.requires_grad_()
        modules = {name: create_activation(name, num_channels=self.width) for name in names}
        networks = {name: self.network(problem, name) for name in names}
        batch = self.batch(problem)
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
        for number in range(WARM_UP + self.rounds):
            shift = number % len(names)  # Nobody always comes behind the same one.
            for name in names[shift:] + names[:shift]:
                alone = time_passes(modules[name], inputs, gradient)
                found[name].append((*alone, time_step(*networks[name], *batch)))
        seconds = {name: torch.tensor(times[WARM_UP:]).T for name, times in found.items()}
        return [{"activation": n, **columns(seconds[n], seconds["relu"])} for n in names]

    def network(self, problem: Problem, activation: str) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return the network whose training is timed, and its optimizer."""
        head = {"hidden_features": list(self.hidden_features), "activation": activation}
        network = build_head(head, problem, seed=0).train()
        return network, torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def batch(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Return features and labels of a step; rows come again where there are too few."""
        features, labels = problem.train
        rows = torch.arange(self.batch_size) % len(labels)
        return features[rows], labels[rows]

    def judge(self, rows: Sequence[Row]) -> Judgement:
        """See `Experiment`: three quarters of the rounds take over 1.2 times relu's time."""
        exp = {row["activation"]: row for row in rows if ACTIVATIONS[row["activation"]].uses_exp}
        steps = {name: row["step_times_relu"] for name, row in exp.items()}
        slowest = max(steps, key=lambda name: steps[name])
        dear = {name: row["times_relu_low"] > DEAR for name, row in exp.items()}
        return Judgement(
            {"over 1.2 times relu's time in three quarters of the rounds": dear},
            {"alone": {name: row["times_relu"] for name, row in exp.items()}}
            | {"slowest": slowest, "most": steps[slowest], "least": min(steps.values())},
        )


def columns(seconds: Tensor, relu: Tensor) -> Row:
    """Return medians of times, and medians and quartiles of their ratios to relu's.

    Args:
        seconds: Of the forward pass, the backward pass and a step in each round, ``(3, rounds)``.
        relu: The same of relu.
    """
    forward, backward, step = (1e3 * seconds).median(dim=1).values.tolist()
    row: Row = {"forward_ms": forward, "backward_ms": backward, "step_ms": step}
    alone = seconds[:2].sum(dim=0) / relu[:2].sum(dim=0)
    for name, ratio in (("times_relu", alone), ("step_times_relu", seconds[2] / relu[2])):
        low, median, high = statistics.quantiles(ratio.tolist())
        row |= {name: median, f"{name}_low": low, f"{name}_high": high}
    return row


def time_passes(module: nn.Module, inputs: Tensor, gradient: Tensor) -> tuple[float, float]:
    """Return the seconds of a forward and of a backward pass.

    Args:
        module: It keeps the shape of its input.
        inputs: A leaf that wants a gradient; it has none afterwards.
        gradient: The gradient of the output, of its shape.
    """
    start = time.perf_counter()
    outputs = module(inputs)
    middle = time.perf_counter()
    outputs.backward(gradient)
    end = time.perf_counter()
    for leaf in (inputs, *module.parameters()):
        leaf.grad = None  # Adding to a gradient would take time of its own.
    return middle - start, end - middle


def time_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, features: Tensor, labels: Tensor
) -> float:
    """Make a step of training (forward, loss, backward, update) and return its seconds."""
    start = time.perf_counter()
    optimizer.zero_grad()
    loss = functional.cross_entropy(network(features), labels)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    optimizer.step()
    return time.perf_counter() - start
