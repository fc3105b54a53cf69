"""Maxout: alive, and twice as large."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tltool.evaluation.paired_differences import Difference
from tltool.evaluation.paired_differences import judge as compare
from tltool.lecture.experiment import Experiment, Finding, Verdict, verdict_of
from tltool.lecture.maxout_networks import Contender, copy_relu_, count_parameters, idle_after
from tltool.lecture.pictures import draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.training import Head, build_head, tune

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RELU, WIDER, MAXOUT = "relu", "wider relu", "maxout"
DYING = 0.01
"""Share of the relu units without a gradient beyond which a rate is said to kill."""


@dataclass(frozen=True)
class MaxoutParameters(Experiment):
    """Maxout against relu of equal width, and against relu with as many parameters.

    Each network takes the learning rate with the least loss on the rows that choose.

    Args:
        widths: Units of each hidden layer of maxout, and of relu of equal width.
        pieces: Linear functions of a maxout unit, at least 2.
        depth: Number of hidden layers.
        rates: Learning rates of SGD with momentum 0.9 to choose from.
        epochs: Length of the training.
        seeds: Number of seeds.

    Raises:
        ValueError: If there is no width, or no hidden layer.
    """

    title = "Maxout's parameters"
    claim = (
        "Maxout generalizes relu, does not saturate or die, but doubles the number of parameters."
    )
    source = "CS231n; Goodfellow et al., 2013, section 3, https://arxiv.org/abs/1302.4389"
    shows = ("maxout",)

    widths: Sequence[int] = (4, 8, 16, 32, 64)
    pieces: int = 2
    depth: int = 2
    rates: Sequence[float] = (3e-3, 1e-2, 3e-2, 6e-2, 1e-1, 2e-1)
    epochs: int = 10
    seeds: int = 3

    def __post_init__(self) -> None:
        if min(self.widths, default=0) < 1 or self.depth < 1:
            raise ValueError(
                "Maxout and relu differ in hidden layers: `widths` needs at least one number, each "
                f"at least 1, and so must be `depth`; got {list(self.widths)} and {self.depth}. "
                "Write [8, 32] and 2."
            )

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        problem = problem.standardized()
        widest = max(self.widths)
        contenders = self.contenders(problem)
        of_widest = {each.kind: each for each in contenders if each.width == widest}
        verdict, number, text = judge(
            {kind: _correct(contenders, kind) for kind in (MAXOUT, RELU, WIDER)},
            rates=list(of_widest[RELU].idle),
            relu=_table(of_widest[RELU].idle),
            pieces=_table(of_widest[MAXOUT].idle),
            error=self.generalization_error(problem, widest),
            growth=of_widest[MAXOUT].parameters / of_widest[RELU].parameters,
        )
        rows = [
            {"network": each.kind, "width": each.width, "units": each.head["hidden_features"][0]}
            | {"parameters": each.parameters, "rate": rate, "chosen": rate == each.tuned.rate}
            | {"rate_at_edge": each.tuned.at_edge, "seed": seed}
            | {"accuracy": float(run.correct.double().mean()), "without_gradient": idle}
            for each in contenders
            for rate, runs in each.tuned.tried.items()
            for seed, (run, idle) in enumerate(zip(runs, each.idle[rate], strict=True))
        ]
        return Finding(verdict, number, text, _draw(contenders), rows)

    def contenders(self, problem: Problem) -> list[Contender]:
        """Train each network at each rate with each seed."""
        keys = [
            (kind, width) for width in sorted(set(self.widths)) for kind in (RELU, WIDER, MAXOUT)
        ]
        heads = {f"{kind} {width}": self.head(problem, kind, width) for kind, width in keys}
        tuned = tune(
            problem,
            heads,
            rates=sorted(set(self.rates)),
            seeds=self.seeds,
            recipe=Recipe(epochs=self.epochs),
            cost=lambda run: run.val_losses[-1],
        )
        contenders = []
        for key, head, each in zip(keys, heads.values(), tuned.values(), strict=True):
            network = build_head(head, problem, seed=0)
            idle = {
                rate: [idle_after(network, run, problem.train[0]) for run in runs]
                for rate, runs in each.tried.items()
            }
            contenders.append(Contender(*key, head, count_parameters(problem, head), each, idle))
        return contenders

    def head(self, problem: Problem, kind: str, width: int) -> Head:
        """Return the arguments of a network.

        Args:
            problem: The data.
            kind: ``relu``, ``maxout``, or ``wider relu``, with as many parameters as maxout.
            width: Units of each hidden layer of relu and of maxout.
        """
        maxout = {"name": "maxout", "k": self.pieces}
        if kind == MAXOUT:
            return {"hidden_features": [width] * self.depth, "activation": maxout}
        if kind == WIDER:
            wanted = count_parameters(problem, self.head(problem, MAXOUT, width))
            excess = {
                each: abs(count_parameters(problem, self.head(problem, RELU, each)) - wanted)
                for each in range(width, self.pieces * width + 1)
            }
            width = min(excess, key=lambda each: excess[each])
        return {"hidden_features": [width] * self.depth, "activation": "relu"}

    def generalization_error(self, problem: Problem, width: int) -> float:
        """Return how far maxout with relu's weights is from relu, relative to the largest logit."""
        relu, maxout = (
            build_head(self.head(problem, kind, width), problem, seed=0).eval()
            for kind in (RELU, MAXOUT)
        )
        features = problem.features[problem.split.test]
        with torch.no_grad():
            expected, got = relu(features), copy_relu_(maxout, relu)(features)
        return float((got - expected).abs().max() / expected.abs().max())


def judge(
    correct: Mapping[str, Tensor],
    *,
    rates: Sequence[float],
    relu: Sequence[Sequence[float]],
    pieces: Sequence[Sequence[float]],
    error: float,
    growth: float,
) -> tuple[Verdict, str, str]:
    """Return verdict, number and text.

    Three statements are judged. Maxout that is given relu's weights computes what relu does. At
    each rate at which more than 1 % of the relu units get no gradient, a smaller share of maxout's
    pieces gets none, and no seed diverges; where no rate kills relus, none of them kills pieces.
    Maxout has at least 1.5 times the parameters. All: it holds. None: it does not. Accuracy is not
    claimed: it is what the parameters are paid for.

    Args:
        correct: Share of the widths at which each test row is right ``(S, N)``, of ``maxout``,
            ``relu`` and ``wider relu``.
        rates: Learning rates, ascending.
        relu: Share of relu units that no row gives a gradient, for each seed and rate ``(S, R)``;
            NaN where the network diverged.
        pieces: The same of maxout's pieces.
        error: Difference of maxout with relu's weights from relu, relative.
        growth: Parameters of maxout, relative to relu's of equal width.
    """
    off, unused = (_means(each) for each in (relu, pieces))  # (R,), NaN where a seed diverged
    kills = [place for place, share in enumerate(off) if share > DYING]
    lives = (
        all(unused[place] < off[place] for place in kills)
        if kills
        else all(not share > DYING for share in unused)
    )
    diverged = [f"{rate:g}" for rate, share in zip(rates, unused, strict=True) if math.isnan(share)]
    statements = {
        "it computes what relu does": error < 1e-4,
        "it lives where relus die": lives,
        "it has twice the parameters": growth >= 1.5,
    }
    wrong = [statement for statement, is_true in statements.items() if not is_true]
    verdict = verdict_of(list(statements.values()))
    found = {each.name: each for each in compare(correct, MAXOUT)}
    number = (
        f"maxout less relu: {_points(found[RELU])} at equal width, {_points(found[WIDER])} at "
        f"equal parameters (mean over the widths); without gradient: up to {_most(off)} of the "
        f"relu units, {_most(unused)} of maxout's pieces"
        + (f", which diverges at {', '.join(diverged)}" if diverged else "")
    )
    text = (
        (f"Not so: {', '.join(wrong)}. " if wrong else "")
        + f"With {growth:.1f} times the parameters maxout is {_told(found[RELU])} than relu of "
        + f"equal width; it is {_told(found[WIDER])} than relu so wide that it has as many. The "
        + "largest piece of a unit always gets a gradient"
        + (
            ", but the rates that kill relus make maxout's weights diverge"
            if kills and all(math.isnan(unused[place]) for place in kills)
            else ", and no rate that was tried kills relus"
            if not kills
            else ""
        )
        + (
            ". Here `activation: maxout` is worth its parameters."
            if _told(found[WIDER]) == "better"
            else ". Here relu with wider `hidden_features` is as good a use of parameters."
        )
    )
    return verdict, number, text


def _correct(contenders: Sequence[Contender], kind: str) -> Tensor:
    """Return the share of the widths at which each test row is right, for each seed ``(S, N)``."""
    runs = [each.tuned.runs for each in contenders if each.kind == kind]
    widths = [torch.stack([run.correct.double() for run in each]) for each in runs]
    return torch.stack(widths).mean(dim=0)


def _table(idle: Mapping[float, Sequence[float]]) -> list[tuple[float, ...]]:
    """Return a share for each seed and rate, ``(S, R)``."""
    return list(zip(*idle.values(), strict=True))


def _means(table: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(of_rate) for of_rate in zip(*table, strict=True)]


def _most(shares: Sequence[float]) -> str:
    finite = [share for share in shares if math.isfinite(share)]
    return f"{max(finite):.1%}" if finite else "an unknown share"


def _points(difference: Difference) -> str:
    low, high = difference.estimate.interval
    return f"{0.0 - 100 * difference.estimate.mean:+.1f} points (+- {50 * (high - low):.1f})"


def _told(difference: Difference) -> str:
    if not difference.is_finding:
        return "not better beyond noise"
    return "better" if difference.estimate.mean < 0 else "worse"


def _draw(contenders: Sequence[Contender]) -> "Figure":
    """Draw accuracy by width and by parameters, and what gets no gradient by learning rate."""
    figure, (by_width, by_size, by_rate) = new_figure(3)
    for number, kind in enumerate((RELU, MAXOUT)):
        style: dict[str, Any] = {"label": kind, "number": number}
        own = [each for each in contenders if each.kind == kind]
        draw_series(by_width, [each.width for each in own], _accuracies(own), **style)
        # A wider relu is a relu: both lie on one curve.
        same = [each for each in contenders if each.kind in {kind, f"wider {kind}"}]
        same.sort(key=lambda each: each.parameters)
        draw_series(by_size, [each.parameters for each in same], _accuracies(same), **style)
        widest = own[-1]
        draw_series(by_rate, list(widest.idle), _table(widest.idle), **style)
        _mark_divergence(by_rate, widest)
    for axes in (by_width, by_size):
        axes.set(xscale="log", ylabel="accuracy on test rows")
    widths = sorted({each.width for each in contenders})
    by_width.set_xticks(widths, [str(width) for width in widths])
    by_width.minorticks_off()
    by_width.set_xlabel("units of each hidden layer")
    by_size.set_xlabel("parameters")
    by_rate.set(xscale="log", xlabel=f"learning rate ({widths[-1]} units)")
    by_rate.set_ylabel("share without gradient\n(relu: of units, maxout: of pieces)")
    draw_legend(figure, by_rate)
    return figure


def _mark_divergence(axes: "Axes", contender: Contender) -> None:
    """Shade the rates at which a seed came to weights that are no numbers."""
    shares = dict(zip(contender.idle, _means(_table(contender.idle)), strict=True))
    diverged = [rate for rate, share in shares.items() if math.isnan(share)]
    if diverged:
        label = f"{contender.kind} diverged"
        hatch = "//" if contender.kind == MAXOUT else "\\\\"
        style: dict[str, Any] = {"facecolor": "0.9", "edgecolor": "0.6", "hatch": hatch}
        axes.axvspan(min(diverged) / 1.15, max(diverged) * 1.15, label=label, linewidth=0, **style)


def _accuracies(contenders: Sequence[Contender]) -> list[list[float]]:
    """Return the accuracy of each seed and network, ``(S, V)``."""
    accuracies = (each.tuned.accuracies for each in contenders)
    return [list(seed) for seed in zip(*accuracies, strict=True)]
