"""What the exponential of an activation costs."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tltool._lookup import lookup
from tltool.layers.activations import ACTIVATIONS, create_activation
from tltool.lecture.experiment import Experiment, Finding, Verdict, verdict_of
from tltool.lecture.pictures import COLORS, draw_legend, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.timing import Step, ratios, time_passes
from tltool.lecture.training import build_head

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEAR = 1.2
"""From how many times relu's time on an activation is said to be dear."""

WARM_UP = 3
"""Rounds that do not count: the first ones allocate."""


@dataclass(frozen=True)
class Times:
    """How long an activation took in each round, in seconds.

    Args:
        forward: Its forward pass alone.
        backward: Its backward pass alone.
        step: A step of training of a network with it.
    """

    forward: Sequence[float]
    backward: Sequence[float]
    step: Sequence[float]

    @property
    def alone(self) -> list[float]:
        """Forward and backward pass together."""
        return [sum(both) for both in zip(self.forward, self.backward, strict=True)]


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

    activations: Sequence[str] = (
        "relu",
        "leaky_relu",
        "sigmoid",
        "tanh",
        "elu",
        "selu",
        "silu",
        "gelu",
    )
    rows: int = 1024
    width: int = 256
    hidden_features: Sequence[int] = (256,)
    batch_size: int = 256
    rounds: int = 50

    def __post_init__(self) -> None:
        entries = [lookup(ACTIVATIONS, name, kind="activation") for name in self.activations]
        if not any(entry.uses_exp for entry in entries):
            raise ValueError(
                f"`activations` must hold one that computes an exponential, got "
                f"{list(self.activations)}. For example [sigmoid, tanh]."
            )
        if self.rounds < 4:
            raise ValueError(f"`rounds` must be at least 4, for quartiles, got {self.rounds}.")

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        times = self.measure(problem.standardized())
        figure, (left, right) = new_figure(2)
        _draw_alone(left, times)
        _draw_steps(right, times)
        draw_legend(figure, left)
        rows = [
            {
                "activation": name,
                "computes_exp": ACTIVATIONS[name].uses_exp,
                "forward_ms": 1e3 * statistics.median(each.forward),
                "backward_ms": 1e3 * statistics.median(each.backward),
                "times_relu": statistics.median(ratios(each.alone, times["relu"].alone)),
                "step_ms": 1e3 * statistics.median(each.step),
                "step_times_relu": statistics.median(ratios(each.step, times["relu"].step)),
            }
            for name, each in times.items()
        ]
        return Finding(*self.judge(times, problem.num_features), figure, rows)

    def measure(self, problem: Problem) -> dict[str, Times]:
        """Time all in turns, so that what else the machine does meets all alike."""
        names = list(dict.fromkeys(("relu", *self.activations)))
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(self.rows, self.width, generator=generator, requires_grad=True)
        gradient = torch.randn(self.rows, self.width, generator=generator)
        modules = {name: create_activation(name, num_channels=self.width) for name in names}
        steps = {name: self._step(problem, name) for name in names}
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
        for number in range(WARM_UP + self.rounds):
            shift = number % len(names)  # Nobody always comes behind the same one.
            for name in names[shift:] + names[:shift]:
                alone = time_passes(modules[name], inputs, gradient)
                found[name].append((*alone, steps[name].time()))
        return {name: Times(*zip(*rounds[WARM_UP:], strict=True)) for name, rounds in found.items()}

    def judge(self, times: Mapping[str, Times], num_features: int) -> tuple[Verdict, str, str]:
        """Return verdict, number and text.

        It holds if all that compute an exponential take over 1.2 times relu's time, forward and
        backward, in three quarters of the rounds; in part if some do.

        Args:
            times: Of each activation, relu among them.
            num_features: Width of the network's input.
        """
        names = [name for name in times if ACTIVATIONS[name].uses_exp]
        alone = {name: ratios(times[name].alone, times["relu"].alone) for name in names}
        whole = {
            name: statistics.median(ratios(times[name].step, times["relu"].step)) for name in names
        }
        dear = [name for name in names if statistics.quantiles(alone[name])[0] > DEAR]
        verdict = verdict_of([name in dear for name in names])
        most = max(names, key=lambda name: whole[name])
        number = (
            "times relu's time, forward and backward: "
            + ", ".join(f"{name} {statistics.median(alone[name]):.1f}" for name in names)
            + f"; a whole step: at most {whole[most]:.2f} ({most})"
        )
        network = f"{num_features} features and hidden layers of {list(self.hidden_features)}"
        text = (
            f"Medians of {self.rounds} rounds in turns, on the CPU, {torch.get_num_threads()} "
            f"thread(s); over {DEAR:g} times relu's time in three quarters of the rounds counts as "
            f"dear: {', '.join(dear) or 'none'}.{_spared(names, dear)} A step of training of a "
            f"network on {network} takes {min(whole.values()):.2f} to {whole[most]:.2f} times "
            "relu's. "
            + (
                "Matrix products take the most of it: choose the activation of a head by its "
                "accuracy, not by its time."
                if whole[most] <= DEAR
                else "That is felt: where time counts, compare the accuracy with relu's first."
            )
        )
        return verdict, number, text

    def _step(self, problem: Problem, activation: str) -> Step:
        features, labels = problem.train
        rows = torch.arange(self.batch_size) % len(labels)
        head = {"hidden_features": list(self.hidden_features), "activation": activation}
        return Step(build_head(head, problem, seed=0), features[rows], labels[rows])


def _spared(names: Sequence[str], dear: Sequence[str]) -> str:
    spared = [name for name in names if name not in dear]
    if not dear or not spared:
        return ""
    return (
        f" Not so, beyond noise, {', '.join(spared)}: the library's way to an exponential decides."
    )


def _draw_alone(axes: "Axes", times: Mapping[str, Times]) -> None:
    labels = [_label(name) for name in times]
    forward = [1e3 * statistics.median(each.forward) for each in times.values()]
    backward = [1e3 * statistics.median(each.backward) for each in times.values()]
    axes.barh(labels, forward, color=COLORS[0], label="forward")
    axes.barh(
        labels, backward, left=forward, color=COLORS[4], hatch="//", edgecolor="white",
        label="backward",
    )  # fmt: skip
    axes.invert_yaxis()
    axes.set_xlabel("ms, activation alone (* computes exp)")


def _draw_steps(axes: "Axes", times: Mapping[str, Times]) -> None:
    for number, each in enumerate(times.values()):
        low, median, high = statistics.quantiles(ratios(each.step, times["relu"].step))
        axes.errorbar(
            median, number, xerr=[[median - low], [high - median]], color="black",
            marker="o", markersize=4, capsize=3, linewidth=1,
        )  # fmt: skip
    axes.axvline(1, color="0.3", linewidth=0.8)
    axes.set_yticks(range(len(times)), [_label(name) for name in times])
    axes.invert_yaxis()
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.5), max(high, 2.0))  # A few percent must not look like much.
    axes.set_xlabel("step of training, times relu's (quartiles)")


def _label(name: str) -> str:
    return f"{name} *" if ACTIVATIONS[name].uses_exp else name
