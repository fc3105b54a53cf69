"""Swish in deep networks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tltool.evaluation.paired_differences import (
    CONFIDENCE,
    Difference,
    MeanEstimate,
    estimate_mean,
    holm,
)
from tltool.evaluation.paired_differences import judge as compare
from tltool.layers.gains import moment_growth
from tltool.lecture.experiment import Experiment, Finding, Verdict
from tltool.lecture.pictures import COLORS, MARKERS, draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.training import Trial, Tuned, batch_size_for_norms, train_trials, tune

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SWISH, RELU = "silu", "relu"
DEEP = 8
"""Hidden layers from which a network counts as deep."""
WIDEST = 0.02
"""Half the width of an interval of accuracy beyond which no difference tells nothing."""


class Pair(NamedTuple):
    """Where both activations are compared."""

    norm: str | None
    depth: int

    @property
    def label(self) -> str:
        """What its series is called."""
        return f"{self.norm} norm" if self.norm else "no norm"

    def __str__(self) -> str:
        return f"{self.label}, {self.depth} layers"


@dataclass(frozen=True)
class SwishDeep(Experiment):
    """Swish (silu) against relu by depth, without and with a norm.

    Each network takes the learning rate with the least loss on the rows that choose. Weights are
    drawn with the gain of the activation that follows. Seeds of deep networks differ much, so that
    most of them are spent on the result and few on the rate.

    Args:
        depths: Numbers of hidden layers. Those of 8 and more are judged, or the largest.
        width: Units of each.
        norms: Norms in front of each activation; ``None`` for none.
        rates: Learning rates of AdamW to choose from.
        epochs: Length of the training.
        batch_size: Rows in a step, at least 2.
        tuning_seeds: Number of seeds that choose the rate.
        seeds: Number of further seeds, at the rate that was chosen, which report.

    Raises:
        ValueError: If there is no depth or no norm to compare at, or batches are of single rows.
    """

    title = "Swish in deep networks"
    claim = "Swish does better than relu in deep networks."
    source = "CS231n; Ramachandran et al., 2017, section 5, https://arxiv.org/abs/1710.05941"
    shows = ("silu", "swish_beta")

    depths: Sequence[int] = (2, 8, 16, 32)
    width: int = 32
    norms: Sequence[str | None] = (None, "batch")
    rates: Sequence[float] = (5e-3, 1.5e-2, 5e-2)
    epochs: int = 15
    batch_size: int = 128
    tuning_seeds: int = 2
    seeds: int = 6

    def __post_init__(self) -> None:
        if min(self.depths, default=0) < 1 or not self.norms or self.batch_size < 2:
            raise ValueError(
                "`depths` needs at least one number, each at least 1; `norms` one name or null; "
                f"and `batch_size` must be at least 2; got {list(self.depths)}, "
                f"{list(self.norms)} and {self.batch_size}. Write [2, 32], [null] and 64."
            )

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        problem = problem.standardized()
        pairs = [Pair(norm, depth) for norm in self.norms for depth in sorted(set(self.depths))]
        tuned = {pair: self.tune(problem, pair) for pair in pairs}
        differences = compare_pairs(tuned)
        rows = [
            {"activation": name, "norm": pair.norm, "depth": pair.depth, "seed": seed}
            | {"rate": each.rate, "rate_at_edge": each.at_edge}
            | {"training_loss": run.train_losses[-1]}
            | {"accuracy": float(run.correct.double().mean())}
            for pair, of_pair in tuned.items()
            for name, each in of_pair.items()
            for seed, run in enumerate(each.runs)
        ]
        ratios = {pair: log_loss_ratio(each) for pair, each in tuned.items()}
        verdict, number, text = judge(differences, ratios)
        at_edge = [each.at_edge for both in tuned.values() for each in both.values()]
        if any(at_edge):
            text += f" {sum(at_edge)} of {len(at_edge)} best rates are the least or largest tried."
        return Finding(verdict, number, text, _draw(tuned, differences), rows)

    def tune(self, problem: Problem, pair: Pair) -> dict[str, Tuned]:
        """Train both activations with all seeds, each at the rate that suits it."""
        num_rows = len(problem.split.train)
        size = batch_size_for_norms(num_rows, self.batch_size) if pair.norm else self.batch_size
        hidden = [self.width] * pair.depth
        heads = {
            name: {"hidden_features": hidden, "activation": name, "norm": pair.norm}
            for name in (SWISH, RELU)
        }
        recipe = Recipe(epochs=self.epochs, batch_size=size)
        tuned = tune(
            problem,
            heads,
            rates=sorted(set(self.rates)),
            seeds=self.tuning_seeds,
            recipe=recipe,
            cost=lambda run: run.val_losses[-1],
            optimizer="AdamW",
        )
        fresh = range(self.tuning_seeds, self.tuning_seeds + self.seeds)
        trials = [Trial(heads[name], seed, tuned[name].rate) for name in heads for seed in fresh]
        found = iter(train_trials(problem, trials, recipe=recipe, optimizer="AdamW"))
        return {
            name: replace(each, runs=[next(found) for _ in fresh]) for name, each in tuned.items()
        }


def compare_pairs(tuned: Mapping[Pair, Mapping[str, Tuned]]) -> dict[Pair, Difference]:
    """Return the accuracy of swish less that of relu for each pair, over test rows and seeds."""
    return {
        pair: compare(
            {name: torch.stack([run.correct for run in each.runs]) for name, each in both.items()},
            RELU,
        )[0]
        for pair, both in tuned.items()
    }


def log_loss_ratio(both: Mapping[str, Tuned]) -> MeanEstimate | None:
    """Return the log of swish's training loss relative to relu's, paired over seeds.

    Args:
        both: What both activations came to.

    Returns:
        ``None`` if a network diverged: then there is no such mean.
    """
    swish, relu = (
        torch.tensor([run.train_losses[-1] for run in both[name].runs]) for name in (SWISH, RELU)
    )
    ratios = (swish / relu).log()
    # Seeds stand where photos do: of one row, the error is that of its mean.
    return estimate_mean(ratios[None]) if ratios.isfinite().all() else None


def judge(
    differences: Mapping[Pair, Difference], ratios: Mapping[Pair, MeanEstimate | None]
) -> tuple[Verdict, str, str]:
    """Return verdict, number and text.

    At 8 and more layers, swish is better where its accuracy is higher or its training loss lower
    beyond noise (p < 0.05, Holm's correction for both measures at all such depths and norms), and
    neither is worse. It holds if swish is better at the largest depth with each norm, and worse
    nowhere; in part if it is better anywhere. If it is neither better nor worse anywhere, but an
    interval of accuracy is wider than 2 points to each side, it cannot be told.

    Args:
        differences: Of accuracy, swish less relu.
        ratios: See `log_loss_ratio`.
    """
    deepest = max(pair.depth for pair in differences)
    deep = [pair for pair in differences if pair.depth >= min(DEEP, deepest)]
    effects = [
        (pair, d.estimate.mean, d.p_value) for pair, d in differences.items() if pair in deep
    ]
    effects += [
        (pair, -each.mean, each.p_value) for pair, each in ratios.items() if pair in deep and each
    ]
    p_values = holm([p_value for _, _, p_value in effects])
    signs: dict[Pair, set[bool]] = {pair: set() for pair in deep}
    for (pair, advantage, _), p_value in zip(effects, p_values, strict=True):
        if p_value < 1 - CONFIDENCE:
            signs[pair].add(advantage > 0)
    better = [pair for pair in deep if signs[pair] == {True}]
    worse = [pair for pair in deep if False in signs[pair]]
    at_deepest = [pair for pair in deep if pair.depth == deepest]
    verdict: Verdict
    if better:
        holds = set(at_deepest) <= set(better) and not worse
        verdict = "holds" if holds else "holds in part"
    elif worse or max(_half_width(differences[pair]) for pair in deep) <= WIDEST:
        verdict = "does not hold here"
    else:
        verdict = "cannot be told here"
    number = f"silu against relu with {deepest} hidden layers: " + "; ".join(
        f"{pair.label}: accuracy {_points(differences[pair])}, training loss {_times(ratios[pair])}"
        for pair in at_deepest
    )
    text = (
        "Each at its best rate, silu is better beyond noise, in accuracy or training loss, with "
        f"{_listed(better)}; it is worse with {_listed(worse)}. "
    )
    if any(pair.norm is None for pair in worse):
        text += (
            "Without a norm nothing holds the size of silu's signal: what it is off by grows "
            f"{moment_growth(SWISH):.2f} times in each layer (relu: {moment_growth(RELU):.2f}). "
        )
    return verdict, number, text + _advice(differences, better, worse)


def _advice(
    differences: Mapping[Pair, Difference], better: Sequence[Pair], worse: Sequence[Pair]
) -> str:
    shallow = [pair for pair in differences if pair.depth < DEEP]
    same = shallow and not any(differences[pair].is_finding for pair in shallow)
    normed = any(pair.norm for pair in better) and not any(pair.norm for pair in worse)
    return (
        ("At fewer layers the two differ by no more than noise. " if same else "")
        + "In tltool set `activation: silu`"
        + (", with `norm: batch` in front of it in deep heads." if normed else " and compare.")
    )


def _half_width(difference: Difference) -> float:
    low, high = difference.estimate.interval
    return (high - low) / 2


def _points(difference: Difference) -> str:
    mean = 100 * difference.estimate.mean
    return f"{mean:+.1f} points (+- {100 * _half_width(difference):.1f})"


def _times(ratio: MeanEstimate | None) -> str:
    if ratio is None:
        return "diverged"
    mean, low, high = torch.tensor([ratio.mean, *ratio.interval]).exp().tolist()  # Or infinite.
    return f"x {mean:.2g} ({low:.2g} to {high:.2g})"


def _listed(pairs: Sequence[Pair]) -> str:
    return "; ".join(map(str, pairs)) if pairs else "nothing"


def _draw(
    tuned: Mapping[Pair, Mapping[str, Tuned]], differences: Mapping[Pair, Difference]
) -> "Figure":
    """Draw training loss, accuracy, and the difference of accuracy by depth."""
    figure, (loss, accuracy, difference) = new_figure(3)
    depths = sorted({pair.depth for pair in tuned})
    norms = list(dict.fromkeys(pair.norm for pair in tuned))
    series = [(name, norm) for norm in norms for name in (RELU, SWISH)]
    for number, (name, norm) in enumerate(series):
        columns = [tuned[Pair(norm, depth)][name] for depth in depths]
        style: dict[str, Any] = {"label": f"{name}, {Pair(norm, 0).label}", "number": number}
        losses = [[_drawn(run.train_losses[-1]) for run in each.runs] for each in columns]
        draw_series(loss, depths, list(zip(*losses, strict=True)), **style)
        accuracies = [each.accuracies for each in columns]
        draw_series(accuracy, depths, list(zip(*accuracies, strict=True)), **style)
    for place, norm in enumerate(norms):
        estimates = [differences[Pair(norm, depth)].estimate for depth in depths]
        halves = [_half_width(differences[Pair(norm, depth)]) for depth in depths]
        shift = place - (len(norms) - 1) / 2  # Beside each other, not on top.
        number = len(series) + place
        difference.errorbar(
            [depth + 0.6 * shift for depth in depths],
            [100 * estimate.mean for estimate in estimates],
            yerr=[100 * half for half in halves],
            label=f"silu less relu, {Pair(norm, 0).label}",
            color=COLORS[number % len(COLORS)],
            marker=MARKERS[number % len(MARKERS)],
            linestyle="none",
            markersize=4,
            capsize=2,
        )
    difference.axhline(0.0, color="0.5", linewidth=0.8)
    loss.set(ylabel="training loss at the end", yscale="log")
    accuracy.set(ylabel="accuracy on test rows")
    difference.set(ylabel="difference of accuracy, points\n(bars: 95 % interval)")
    for axes in (loss, accuracy, difference):
        axes.set_xlabel("hidden layers")
        axes.set_xticks(depths)
    draw_legend(figure, accuracy, difference, columns=3)
    return figure


def _drawn(loss: float) -> float:
    return loss if math.isfinite(loss) else math.nan  # Of a network that diverged.
