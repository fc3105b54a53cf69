"""Inputs that are not zero-centered make the weights zig-zag."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tltool.comparison.training_settings import Recipe
from tltool.lecture.experiment import Experiment, Finding, Verdict
from tltool.lecture.pictures import COLORS, MARKERS, STYLES, draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.race import (
    Racer,
    check_race,
    cost_of_reaching,
    draw_race,
    edge_note,
    loss_to_reach,
    race,
    race_rows,
)
from tltool.lecture.training import build_head, tune
from tltool.lecture.zigzag import Mechanism, equal_signs, turns, walks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CENTERED = "x - mean"

SLOWER = 1.5
"""From how many times the epochs on something is slower: a step of the rates may cost 1.4 times."""

TURN = 0.5
"""By how much the mean cosine of successive updates falls where they zig-zag."""

ROWS_OF_SIGNS = 64
ROWS_OF_PATH = 40
TINY = 1e-30


@dataclass(frozen=True)
class ZeroCentered(Experiment):
    """The same features centered, as they come, and shifted further from zero.

    All are divided by one number, so that they spread by 1 about their mean. They reach a network
    of one hidden layer, which is trained by plain gradient descent; each keeps the best of some
    rates.

    Args:
        shifts: What is added to the centered features, in units of their spread. From about 3 on
            hardly a feature is negative.
        activation: That of the hidden layer; a zero-centered one leaves the inputs alone to blame.
        width: Its units.
        rates: Learning rates that each chooses from; three in a factor of ten by default.
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

    shifts: Sequence[float] = (2.0, 4.0)
    activation: str = "tanh"
    width: int = 64
    rates: Sequence[float] = tuple(round(10 ** (third / 3), 4) for third in range(-9, 4))
    target: float = 0.1
    epochs: int = 25
    batch_size: int = 128
    max_rows: int = 1200
    steps: int = 30
    seeds: int = 3

    def __post_init__(self) -> None:
        check_race(rates=self.rates, seeds=self.seeds, target=self.target)
        if 0 in self.shifts:
            raise ValueError(
                f"`shifts` must not hold 0, got {list(self.shifts)}: the centered features are "
                "compared with in any case."
            )
        if self.steps < 2:
            raise ValueError(f"`steps` must be at least 2, got {self.steps}: two are compared.")

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        variants = self.variants(problem.only_training(self.max_rows))
        racers = {name: self._race(name, variant) for name, variant in variants.items()}
        mechanisms = {
            name: self.mechanism(variant, rate=racers[name].rate)
            for name, variant in variants.items()
        }
        figure, (left, middle, right) = new_figure(3)
        draw_race(left, list(racers.values()))
        for number, (name, mechanism) in enumerate(mechanisms.items()):
            x = range(2, self.steps + 1)
            draw_series(
                middle, x, mechanism.cosines, label=name, number=number, markers=self.steps == 2
            )
        middle.set(
            xlabel="step on all rows", ylabel="cosine to the step before", ylim=(-1.05, 1.05)
        )
        self._draw_paths(right, variants)
        draw_legend(figure, left)
        return Finding(*self.judge(racers, mechanisms), figure, _rows(racers, mechanisms))

    def variants(self, problem: Problem) -> dict[str, Problem]:
        """Return the problem with its features centered, as they come, and shifted, by name."""
        train, _ = problem.train
        mean = train.mean(dim=0)
        spread = (train - mean).square().mean().sqrt()
        centered = (problem.features - mean) / spread
        features = {
            CENTERED: centered,
            "x": problem.features / spread,
            **{f"x - mean {_signed(shift)}": centered + shift for shift in self.shifts},
        }
        return {name: problem.with_features(each) for name, each in features.items()}

    def mechanism(self, problem: Problem, *, rate: float) -> Mechanism:
        """Return how the first layer moves at the start."""
        features, labels = problem.train
        networks = [self.network(problem, seed=seed) for seed in range(self.seeds)]
        return Mechanism(
            equal_signs(networks[0], features[:ROWS_OF_SIGNS], labels[:ROWS_OF_SIGNS]),
            [turns(each, features, labels, rate=rate, steps=self.steps) for each in networks],
        )

    def network(self, problem: Problem, *, seed: int) -> nn.Module:
        """Return a new network that says what the one of the centered features says at the start.

        Its first biases take back the mean, so that the variants differ in how they move alone;
        without it, a far mean would saturate the units before the first step.
        """
        network = build_head(self._head, problem, seed=seed)
        _take_back(network, problem)
        return network

    def judge(
        self, racers: Mapping[str, Racer], mechanisms: Mapping[str, Mechanism]
    ) -> tuple[Verdict, str, str]:
        """Return verdict, number and text.

        It holds if all that is not centered takes 1.5 times the epochs or more, with no seed
        between, and turns by a mean cosine of 0.5 more; in part if some does one of the two.

        Args:
            racers: Of the variants, by name.
            mechanisms: Of the variants, by name.
        """
        centered, straight = racers[CENTERED], mechanisms[CENTERED].cosine
        others = [name for name in racers if name != CENTERED]
        slow = [name for name in others if racers[name].is_slower(centered, SLOWER)]
        zigzag = [name for name in others if mechanisms[name].cosine <= straight - TURN]
        verdict: Verdict
        if not any(racer.reached for racer in racers.values()):
            verdict = "cannot be told here"
        elif len(slow) == len(zigzag) == len(others):
            verdict = "holds"
        else:
            verdict = "holds in part" if slow or zigzag else "does not hold here"
        number = (
            f"epochs to a training loss of {centered.target:.2g}: "
            + ", ".join(f"{name}: {racer.shown}" for name, racer in racers.items())
            + "; mean cosine of successive steps: "
            + ", ".join(f"{each.cosine:.2f}" for each in mechanisms.values())
        )
        shares = ", ".join(
            f"{name} {each.equal_signs:.0%}".replace("%", " %") for name, each in mechanisms.items()
        )
        text = (
            "Two weights of a unit have gradients of equal sign for one row in this share of "
            f"pairs: {shares}. All start as one function; at the best rate of each, the mean "
            "cosine of successive steps on all rows is lower than the centered one's by "
            f"{TURN:g} or more for {', '.join(zigzag) or 'none'}, and {SLOWER:g} times the epochs "
            f"or more are needed for {', '.join(slow) or 'none'}. "
            + (
                "Set `input_norm: center` in the head, or `standardize`, which centers too."
                if slow
                else "Centering is still free: `input_norm: center` in the head."
            )
        )
        return verdict, number, text + edge_note(list(racers.values()))

    @property
    def _head(self) -> dict[str, Any]:
        return {"hidden_features": [self.width], "activation": self.activation}

    def _race(self, name: str, problem: Problem) -> Racer:
        target = loss_to_reach(self.target, problem.num_classes)
        tuned = tune(
            problem,
            {name: self._head},
            rates=self.rates,
            seeds=self.seeds,
            recipe=Recipe(self.epochs, self.batch_size, warmup=0.0, decay="none"),
            cost=cost_of_reaching(target),
            optimizer={"name": "SGD", "momentum": 0.0},
            start=lambda network: _take_back(network, problem),
        )
        return race(tuned, target)[name]

    def _draw_paths(self, axes: "Axes", variants: Mapping[str, Problem]) -> None:
        """Draw where two weights of a unit go, of one that comes least far if shifted most."""
        last = len(variants) - 1
        paths = {name: self._paths(variants[name]) for name in (CENTERED, list(variants)[last])}
        unit = int(paths[list(variants)[last]][:, -1].norm(dim=1).argmin())
        for number, (name, path) in zip((0, last), paths.items(), strict=True):
            axes.plot(
                *path[unit].T.tolist(),
                label=name,
                color=COLORS[number % len(COLORS)],
                linestyle=STYLES[number % len(STYLES)],
                marker=MARKERS[number % len(MARKERS)],
                markersize=3,
                linewidth=1,
            )
        axes.plot(0, 0, "k+", markersize=10)
        axes.set(xlabel="a weight, in mean steps", ylabel="another of its unit")
        axes.set_aspect("equal", adjustable="datalim")

    def _paths(self, problem: Problem) -> Tensor:
        features, labels = problem.train
        """Return the paths of two weights, in units of the mean step of each unit."""
        # One input, and the one that varies most against it: uncentered, both go up or both down.
        first = int(features.var(dim=0).argmax())
        deviations = features - features.mean(dim=0)
        second = int((deviations[:, first] @ deviations).argmin())
        path = walks(
            self.network(problem, seed=0),
            features[:ROWS_OF_PATH],
            labels[:ROWS_OF_PATH],
            # Much larger steps saturate the unit, which then stays.
            rate=1 / float(features.square().sum(dim=1).mean()),
            inputs=(first, second),
        )
        steps: Tensor = path.diff(dim=1).norm(dim=2)  # (width, B)
        mean: Tensor = steps.mean(dim=1).clamp_min(TINY)
        return path / mean[:, None, None]


def _take_back(network: nn.Module, problem: Problem) -> None:
    """Let the first layer's biases take back the mean of the features."""
    first = network.first_linear
    assert isinstance(first, nn.Linear)  # noqa: S101  # Head's
    with torch.no_grad():
        first.bias.sub_(first.weight @ problem.train[0].mean(dim=0))


def _signed(number: float) -> str:
    return f"{'-' if number < 0 else '+'} {abs(number):g}"


def _rows(racers: Mapping[str, Racer], mechanisms: Mapping[str, Mechanism]) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "equal_signs": mechanisms[row["name"]].equal_signs,
            "mean_cosine": mechanisms[row["name"]].cosine,
        }
        for row in race_rows(list(racers.values()))
    ]
