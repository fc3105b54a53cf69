"""Relu units die."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from tltool.comparison.head_stack import Trained
from tltool.comparison.training_settings import Recipe
from tltool.layers.activations import is_maxout
from tltool.lecture.experiment import Experiment, Finding, Verdict, verdict_of
from tltool.lecture.pictures import draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.training import Trial, build_head, mean_with_error, train_trials

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_RISE = 0.05
"""Share of the units by which a rate kills in every seed, to be said to kill."""


class Life(NamedTuple):
    """What became of one network; all but the first NaN, and no slopes, if its weights diverged."""

    dead_at_start: float
    dead: float
    accuracy: float
    slopes: list[float]
    """Learned slope of each prelu, from the input."""


Lives = Mapping[tuple[str, float], Sequence[Sequence[Life]]]
"""By activation and first bias: at each rate, each seed."""


@dataclass(frozen=True)
class DeadReLU(Experiment):
    """The share of hidden units that no training row activates, by learning rate and first bias.

    Args:
        activations: Activations; relu is the one that is judged.
        bias: First value of the hidden biases, compared with 0.
        rates: Learning rates of SGD with momentum 0.9.
        depth: Number of hidden layers.
        width: Units of each.
        epochs: Length of the training.
        seeds: Number of seeds.

    Raises:
        ValueError: If there is nothing to compare, or an activation that no unit's input leads to.
    """

    title = "Dead units"
    claim = (
        "Relu units can die: a large learning rate makes units that are never active again; people "
        "like to start them with slightly positive biases (0.01)."
    )
    source = "CS231n; He et al., 2015 (prelu), https://arxiv.org/abs/1502.01852"
    shows = ("relu", "leaky_relu", "prelu")

    activations: Sequence[str] = ("relu", "leaky_relu", "prelu")
    bias: float = 0.01
    rates: Sequence[float] = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
    depth: int = 2
    width: int = 64
    epochs: int = 10
    seeds: int = 5

    def __post_init__(self) -> None:
        if "relu" not in self.activations or any(is_maxout(name) for name in self.activations):
            raise ValueError(
                "`activations` must hold relu, which is judged, and not maxout, whose units are "
                f"never off; got {list(self.activations)}. Write [relu, prelu]."
            )
        if self.bias == 0 or len(set(self.rates)) < 2:
            raise ValueError(
                f"`bias` is compared with 0 and the `rates` with each other; got {self.bias} and "
                f"{list(self.rates)}. Set a bias of 0.01 and rates [0.001, 0.1]."
            )

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        rates = sorted(set(self.rates))
        lives = self.lives(problem.standardized(), rates)
        rows = [
            {"activation": name, "bias": bias, "rate": rate, "seed": seed}
            | {"dead_at_start": life.dead_at_start, "dead": life.dead, "accuracy": life.accuracy}
            | {"least_slope": min(life.slopes, default=None)}
            | {"largest_slope": max(life.slopes, default=None)}
            for (name, bias), each in lives.items()
            for rate, of_seeds in zip(rates, each, strict=True)
            for seed, life in enumerate(of_seeds)
        ]
        without, biased = (_table(lives["relu", bias], "dead") for bias in (0.0, self.bias))
        starts = [
            statistics.fmean(life.dead_at_start for life in _all(lives["relu", bias]))
            for bias in (0.0, self.bias)
        ]
        verdict, number, text = judge(rates, without, biased, self.bias, starts)
        figure = _draw(lives, rates)
        return Finding(verdict, number, f"{text} {_advice(lives)}", figure, rows)

    def lives(self, problem: Problem, rates: Sequence[float]) -> Lives:
        """Train each network and return what became of it."""
        keys = [(name, bias) for name in self.activations for bias in (0.0, self.bias)]
        trials = [
            Trial(self._head(*key), seed, rate)
            for key in keys
            for rate in rates
            for seed in range(self.seeds)
        ]
        recipe = Recipe(epochs=self.epochs, warmup=0.0, decay="none")
        trained = train_trials(problem, trials, recipe=recipe, optimizer="SGD")
        found = iter(zip(trials, trained, strict=True))
        return {
            key: [[_life(problem, *next(found)) for _ in range(self.seeds)] for _ in rates]
            for key in keys
        }

    def _head(self, activation: str, bias: float) -> dict[str, Any]:
        hidden = [self.width] * self.depth
        return {"hidden_features": hidden, "activation": activation, "bias": bias}


def dead_share(head: nn.Module, features: Tensor) -> float:
    """Return the share of hidden units whose input to the activation is positive for no row.

    Args:
        head: A `Head`. It is left in evaluation mode.
        features: ``(N, num_features)``.
    """
    masks: list[Tensor] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        masks.append((inputs[0] <= 0).all(dim=0))

    hooks = [
        layer.get_submodule("activation").register_forward_pre_hook(look)
        for layer in head.get_submodule("hidden").children()
    ]
    try:
        with torch.no_grad():
            head.eval()(features)
    finally:
        for hook in hooks:
            hook.remove()
    return float(torch.cat(masks).double().mean())


def judge(
    rates: Sequence[float],
    without: Sequence[Sequence[float]],
    biased: Sequence[Sequence[float]],
    bias: float,
    starts: Sequence[float],
) -> tuple[Verdict, str, str]:
    """Return verdict, number and text.

    A large rate kills if, at the largest rate at which no seed diverged, each seed has at least
    5 points more dead units than at the smallest. A bias helps if fewer units are dead with it, in
    the mean over the rates of each seed, beyond the 95 % interval over the seeds. The claim holds
    if both do.

    Args:
        rates: Learning rates, ascending.
        without: Share of dead units for each seed and rate ``(S, R)``, NaN where it diverged.
        biased: The same with the first bias.
        bias: The bias.
        starts: Share of dead units before training, without and with the bias.
    """
    plain, other = (torch.as_tensor(each, dtype=torch.float64) for each in (without, biased))
    whole = plain.isfinite().all(dim=0).nonzero().flatten().tolist()
    if len(whole) < 2 or whole[0] != 0:
        return (
            "cannot be told here",
            "networks diverged at all rates but one",
            "No two rates can be compared: at the others the weights are no numbers any more.",
        )
    last = whole[-1]
    rises = plain[:, last] - plain[:, 0]
    kills = bool((rises >= LEAST_RISE).all())
    both = (plain - other).masked_fill(~(plain.isfinite() & other.isfinite()), torch.nan)
    spared, half = mean_with_error(both.nanmean(dim=1).tolist())
    helps, hurts = spared > half, spared < -half
    verdict = verdict_of([kills, helps])
    number = (
        f"relu units dead at the rate {rates[last]:g}: {plain[:, last].mean():.0%}, at "
        f"{rates[0]:g}: {plain[:, 0].mean():.0%}; with a first bias of {bias:g} "
        f"{100 * abs(spared):.1f} points {'fewer' if spared > 0 else 'more'} "
        f"(+- {100 * half:.1f}, mean over the rates)"
    )
    text = (
        (
            "A large rate kills units: no training row activates them any more, so that none moves "
            "their weights. "
            if kills
            else "No rate kills at least 5 % of the units in every seed. "
        )
        + f"A first bias of {bias:g} "
        + ("helps" if helps else "kills more" if hurts else "makes no difference beyond noise")
        + f": at the start {starts[0]:.1%} of the units are dead without it, {starts[1]:.1%} with."
    )
    return verdict, number, text


def _life(problem: Problem, trial: Trial, trained: Trained) -> Life:
    features, _ = problem.train
    head = build_head(trial.head, problem, seed=trial.seed)
    at_start = dead_share(head, features)
    if not all(tensor.isfinite().all() for tensor in trained.state.values()):
        return Life(at_start, float("nan"), float("nan"), [])
    head.load_state_dict(trained.state)
    slopes = [float(each.weight.detach()) for each in head.modules() if isinstance(each, nn.PReLU)]
    accuracy = float(trained.correct.double().mean())
    return Life(at_start, dead_share(head, features), accuracy, slopes)


def _draw(lives: Lives, rates: Sequence[float]) -> "Figure":
    """Draw dead units, accuracy, and, where there are some, learned slopes by learning rate."""
    learned = [key for key, each in lives.items() if any(life.slopes for life in _all(each))]
    figure, panels = new_figure(3 if learned else 2)
    for number, (key, each) in enumerate(lives.items()):
        name, bias = key
        style: dict[str, Any] = {"label": f"{name}, bias {bias:g}", "number": number}
        draw_series(panels[0], rates, _table(each, "dead"), **style)
        draw_series(panels[1], rates, _table(each, "accuracy"), **style)
        if key in learned:
            draw_series(panels[2], rates, _slopes(each), **style)
    labels = ("dead share of hidden units", "accuracy on test rows", "learned slopes of prelu")
    for axes, label in zip(panels, labels, strict=False):
        axes.set(xscale="log", xlabel="learning rate", ylabel=label)
        axes.set_xlim(rates[0] / 1.3, rates[-1] * 1.3)  # Also where the last networks diverged.
    draw_legend(figure, panels[0], columns=3)
    return figure


def _all(lives: Sequence[Sequence[Life]]) -> list[Life]:
    return [life for each in lives for life in each]


def _table(lives: Sequence[Sequence[Life]], name: str) -> list[list[float]]:
    """Return a number of each seed and rate, ``(S, R)``."""
    return [[getattr(life, name) for life in of_seed] for of_seed in zip(*lives, strict=True)]


def _slopes(lives: Sequence[Sequence[Life]]) -> list[list[float]]:
    """Return the slopes of each seed and layer by rate, ``(S * L, R)``."""
    most = max(len(life.slopes) for life in _all(lives))
    columns = [
        [slope for life in each for slope in life.slopes or [float("nan")] * most] for each in lives
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _advice(lives: Lives) -> str:
    """Say what the units of the others still get, what slopes they learned, and what to do."""
    others = [name for name in dict.fromkeys(name for name, _ in lives) if name != "relu"]
    every = [life for each in lives.values() for life in _all(each)]
    slopes = [slope for life in every for slope in life.slopes]
    diverged = sum(math.isnan(life.dead) for life in every)
    text = ""
    if others:
        text = (
            f"Units of {' and '.join(others)} are drawn as dead where their input is never "
            "positive, but where the activation has a slope there they still get a gradient"
        )
    if slopes:
        text += (
            f" (prelu learned slopes of {statistics.fmean(slopes):.2f} in the mean, "
            f"{min(slopes):.2f} to {max(slopes):.2f} over layers, rates and seeds, from 0.25)"
        )
    text += ". " if text else ""
    return (
        text
        + (f"{diverged} of {len(every)} networks diverged and are left out; " if diverged else "")
        + "`tltool compare` shows the share of dead units of each head: lower `lr` where it grows."
    )
