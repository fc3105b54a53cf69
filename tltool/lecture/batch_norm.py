"""Batch norm widens the range of rates and initial scales, and does two different things."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tltool.comparison.head_stack import Trained
from tltool.comparison.training_settings import Recipe
from tltool.lecture.experiment import Experiment, Finding, Verdict
from tltool.lecture.modes import mode_difference
from tltool.lecture.pictures import draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.ranges import (
    Range,
    decades_of,
    describe_decades,
    describe_range,
    top_of,
    trained_range,
    width_of,
)
from tltool.lecture.training import Trial, build_head, frequency_loss, train_trials

NORMS: dict[str, str | None] = {"without": None, "batch norm": "batch"}
SGD = {"name": "SGD", "momentum": 0.0}


@dataclass(frozen=True)
class BatchNormRange(Experiment):
    """Which learning rates and initial scales train a deep network, with and without batch norm.

    A network trains if in the last epoch the training loss of each seed is below a share of the
    loss of knowing nothing but how frequent the classes are. Rates are tried from the initializer
    that suits the activation; each initial scale takes the best of every second rate.

    Args:
        rates: Learning rates of plain SGD, rising.
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
        ValueError: If rates or scales are not positive and rising, or another value is out of its
            range.
    """

    title = "Batch norm"
    claim = (
        "Batch norm improves the gradient flow, allows higher learning rates and reduces the "
        "dependence on initialization; it does different things in training and testing."
    )
    source = "CS231n; Ioffe & Szegedy, 2015, section 3, https://arxiv.org/abs/1502.03167"

    rates: Sequence[float] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
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
        for name in ("rates", "scales"):
            values = list(getattr(self, name))
            if not values or values != sorted(set(values)) or values[0] <= 0:
                raise ValueError(f"`{name}` must be positive and rising, got {values}.")
        if not self.batches or min(self.batches) < 2:
            raise ValueError(
                f"`batches` must be numbers of at least 2, got {list(self.batches)}: one row has "
                "no variance to normalize by."
            )
        for name in ("hidden_layers", "steps", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.share < 1:
            raise ValueError(f"`share` must be in (0, 1), got {self.share}.")

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        problem = problem.standardized()
        blind = frequency_loss(problem.train[1])
        of_rates = {name: self._train(problem, name, None, self.rates) for name in NORMS}
        by_rate = {name: [_losses(runs) for runs in of_rates[name]] for name in NORMS}  # (R, S)
        by_scale = {
            name: [
                _losses(min(self._train(problem, name, scale, self.rates[::2]), key=_cost))
                for scale in self.scales
            ]
            for name in NORMS
        }
        flow = {name: [self.flow(problem, name, scale) for scale in self.scales] for name in NORMS}
        modes = {name: self._modes(problem, name, min(of_rates[name], key=_cost)) for name in NORMS}
        bound = self.share * blind
        judged = judge(
            {name: _range(self.rates, by_rate[name], bound) for name in NORMS},
            {name: _range(self.scales, by_scale[name], bound) for name in NORMS},
            {name: decades_of([statistics.median(each) for each in flow[name]]) for name in NORMS},
            {name: statistics.fmean(modes[name][0]) for name in NORMS},
            grids=(self.rates, self.scales),
            smallest=self.batches[0],
        )
        figure = self._draw(by_rate, by_scale, modes, blind)
        rows = [
            *_rows("learning rate", self.rates, by_rate, "training loss"),
            *_rows("initial scale", self.scales, by_scale, "training loss"),
            *_rows("initial scale", self.scales, flow, "gradient times weight at the start"),
            *_rows("rows in the batch", self.batches, modes, "train less eval logits"),
        ]
        return Finding(*judged, figure, rows)

    def flow(self, problem: Problem, name: str, scale: float) -> list[float]:
        """Return how much the loss hangs on the first layer at the start, for each seed.

        The norm of the gradient of the first layer's weights, times the norm of the weights: what
        a small relative change of them does, whatever their scale.
        """
        features, labels = (rows[: self.batch_size] for rows in problem.train)
        found = []
        for seed in range(self.seeds):
            head = build_head(self._head(name, scale), problem, seed=seed).train()
            weight = next(m for m in head.modules() if isinstance(m, nn.Linear)).weight
            loss = functional.cross_entropy(head(features), labels)
            (gradient,) = torch.autograd.grad(loss, [weight])
            found.append(float(gradient.norm() * weight.detach().norm()))
        return found

    def _train(
        self, problem: Problem, name: str, scale: float | None, rates: Sequence[float]
    ) -> list[list[Trained]]:
        """Return the runs of each seed, for each rate."""
        in_epoch = math.ceil(len(problem.split.train) / self.batch_size)
        epochs = math.ceil(self.steps / in_epoch)
        recipe = Recipe(epochs=epochs, batch_size=self.batch_size, warmup=0.0, decay="none")
        head = self._head(name, scale)
        trials = [Trial(head, seed, rate) for rate in rates for seed in range(self.seeds)]
        found = iter(train_trials(problem, trials, recipe=recipe, optimizer=SGD))
        return [[next(found) for _ in range(self.seeds)] for _ in rates]

    def _head(self, name: str, scale: float | None) -> dict[str, Any]:
        return {
            "hidden_features": [self.width] * self.hidden_layers,
            "activation": self.activation,
            "norm": NORMS[name],
            "initializer": "auto" if scale is None else {"name": "normal", "std": scale},
        }

    def _modes(self, problem: Problem, name: str, runs: Sequence[Trained]) -> list[Sequence[float]]:
        """Return the difference of the modes of a trained network, for each batch and seed."""
        found = []
        for run in runs:
            head = build_head(self._head(name, None), problem, seed=0)
            head.load_state_dict(run.state)
            features = problem.train[0]
            found.append([mode_difference(head, features, rows) for rows in self.batches])
        return list(zip(*found, strict=True))  # (batches, S)

    def _draw(
        self,
        by_rate: Mapping[str, Sequence[Sequence[float]]],
        by_scale: Mapping[str, Sequence[Sequence[float]]],
        modes: Mapping[str, Sequence[Sequence[float]]],
        blind: float,
    ) -> Any:
        figure, (left, middle, right) = new_figure(3)
        cut = 1.25 * blind
        for number, name in enumerate(NORMS):
            for axes, values, losses in (
                (left, self.rates, by_rate[name]),
                (middle, self.scales, by_scale[name]),
            ):
                shown = [[_cut(loss, cut) for loss in each] for each in losses]
                seeds = list(zip(*shown, strict=True))
                draw_series(axes, values, seeds, label=name, number=number)
            seeds = list(zip(*modes[name], strict=True))
            draw_series(right, self.batches, seeds, label=name, number=number)
        for axes in (left, middle):
            axes.axhline(blind, color="0.5", linewidth=0.8)
            axes.axhline(self.share * blind, color="0.5", linewidth=0.8, linestyle="dotted")
            axes.set(xscale="log", ylim=(-0.03 * cut, 1.04 * cut))
        left.set(xlabel="learning rate", ylabel="training loss (gray: guessing;\ndotted: trains)")
        middle.set(xlabel="standard deviation of the\ninitial weights")
        middle.set_ylabel("training loss, best rate")
        right.set(xscale="log", xlabel="rows in the training batch")
        right.set_xticks(self.batches, [str(rows) for rows in self.batches])
        right.minorticks_off()
        right.set_ylabel("logits: training less evaluation,\nin standard deviations")
        draw_legend(figure, left)
        return figure


def judge(
    rates: Mapping[str, Range],
    scales: Mapping[str, Range],
    flow: Mapping[str, float],
    modes: Mapping[str, float],
    *,
    grids: tuple[Sequence[float], Sequence[float]],
    smallest: int,
) -> tuple[Verdict, str, str]:
    """Return verdict, number and text.

    The parts of the claim: the highest rate that trains is higher; the scales that train span more
    decades; the loss's dependence on the first layer at the start spreads over at most half the
    decades; the modes differ by over 1 % of a standard deviation. All: it holds. None of the first
    three: it does not.

    Args:
        rates: Learning rates that train, without and with batch norm.
        scales: Initial scales that train.
        flow: Decades over which `BatchNormRange.flow` spreads between the initial scales.
        modes: Difference of the logits between the modes at the smallest batch.
        grids: The rates and scales that were tried.
        smallest: Rows in the smallest batch.
    """
    plain, normed = NORMS
    parts = {
        "higher rates": top_of(rates[normed]) > top_of(rates[plain]),
        "more initial scales": width_of(scales[normed]) > width_of(scales[plain]),
        "a steadier gradient": flow[normed] <= flow[plain] / 2 and flow[normed] < math.inf,
    }
    differs = modes[normed] > 0.01
    if rates[plain] is rates[normed] is None and scales[plain] is scales[normed] is None:
        verdict: Verdict = "cannot be told here"
    elif all(parts.values()) and differs:
        verdict = "holds"
    else:
        verdict = "holds in part" if any(parts.values()) else "does not hold here"
    ranges = [
        describe_range(found[name], grid)
        for found, grid in zip((rates, scales), grids, strict=True)
        for name in NORMS
    ]
    spreads = [describe_decades(flow[name]) for name in NORMS]
    number = (
        f"trains at rates {ranges[0]} without and {ranges[1]} with batch norm, from initial scales "
        f"{ranges[2]} and {ranges[3]}; the first layer's gradient spreads over {spreads[0]} and "
        f"{spreads[1]}"
    )
    found = [name for name, is_found in parts.items() if is_found]
    missed = [name for name, is_found in parts.items() if not is_found]
    text = (
        "The same networks, each initial scale at its best rate: with batch norm there are "
        + (", ".join(found) or "neither higher rates nor more scales nor a steadier gradient")
        + (f", but not {' or '.join(missed)}" if found and missed else "")
        + f". In batches of {smallest} the logits of a trained network differ by "
        f"{modes[normed]:.2f} standard deviations between training and evaluation mode (without: "
        f"{modes[plain]:.2f}), and one row alone has no variance: torch's layer raises there, that "
        "of `head: {norm: batch}` takes the running statistics. So evaluate in evaluation mode, "
        "freeze batch norm together with its group, and take `norm: layer` for small batches."
    )
    return verdict, number, text


def _losses(runs: Sequence[Trained]) -> list[float]:
    return [run.train_losses[-1] for run in runs]


def _cost(runs: Sequence[Trained]) -> float:
    return sum(_cut(loss, 1e12) for loss in _losses(runs))  # What diverged is never the best.


def _range(values: Sequence[float], losses: Sequence[Sequence[float]], bound: float) -> Range:
    return trained_range(values, [all(loss < bound for loss in each) for each in losses])


def _cut(loss: float, highest: float) -> float:
    return min(loss, highest) if math.isfinite(loss) else highest


def _rows(
    varied: str,
    places: Sequence[float],
    values: Mapping[str, Sequence[Sequence[float]]],
    measure: str,
) -> list[dict[str, Any]]:
    """Return rows of values ``(places, S)`` by the name of the norm."""
    return [
        {"norm": name, "varied": varied, "at": at, "seed": seed, "measure": measure, "value": value}
        for name, of_places in values.items()
        for at, of_seeds in zip(places, of_places, strict=True)
        for seed, value in enumerate(of_seeds)
    ]
