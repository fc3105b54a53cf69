"""SELU in place of batch norm."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from tltool.evaluation.paired_differences import judge as compare
from tltool.lecture.experiment import Experiment, Finding, Verdict
from tltool.lecture.pictures import draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.training import Head, Tuned, build_head, hidden_outputs, tune

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SELU, RELU, NORMED, CHANCE = "selu", "relu", "relu + batch norm", "chance"
NETWORKS: Mapping[str, Head] = {
    SELU: {"activation": "selu", "initializer": "lecun_normal"},
    RELU: {"activation": "relu", "initializer": "kaiming_normal"},
    NORMED: {"activation": "relu", "initializer": "kaiming_normal", "norm": "batch"},
}
WIDEST = 0.05
"""Half the width of an interval of accuracy beyond which no difference tells nothing."""


class Signal(NamedTuple):
    """What comes out of each hidden layer, from the input: over rows, in the mean of its units."""

    means: list[float]
    variances: list[float]


@dataclass(frozen=True)
class SELUWithoutNorm(Experiment):
    """Signals through depth, and accuracy, of selu and of relu without and with batch norm.

    Each network takes, at each depth, the learning rate with the least loss on the rows that
    choose.

    Args:
        depths: Numbers of hidden layers.
        width: Units of each.
        rates: Learning rates of SGD with momentum 0.9 to choose from.
        epochs: Length of the training.
        batch_size: Rows in a step.
        seeds: Number of seeds.

    Raises:
        ValueError: If there is no depth.
    """

    title = "SELU without batch norm"
    claim = "SELU trains deep networks without batch norm."
    source = "CS231n; Klambauer et al., 2017, section 2, https://arxiv.org/abs/1706.02515"
    shows = (SELU,)

    depths: Sequence[int] = (8, 16, 32)
    width: int = 32
    rates: Sequence[float] = (3e-3, 1e-2, 3e-2, 1e-1)
    epochs: int = 8
    batch_size: int = 64
    seeds: int = 3

    def __post_init__(self) -> None:
        if min(self.depths, default=0) < 1:
            raise ValueError(
                "`depths` must be numbers of hidden layers, at least one of them and each at least "
                f"1; got {list(self.depths)}. Write [8, 32]."
            )

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        problem = problem.standardized()
        depths = sorted(set(self.depths))
        tuned = {depth: self._tune(problem, depth) for depth in depths}
        signals = {
            (name, depth): self.signals(problem, name, depth, tuned[depth][name])
            for depth in depths
            for name in NETWORKS
        }
        correct = {
            depth: {
                name: torch.stack([run.correct for run in each.runs])
                for name, each in tuned[depth].items()
            }
            for depth in depths
        }
        rows = [
            {"network": name, "depth": depth, "seed": seed, "layer": layer + 1}
            | {"mean": start.means[layer], "variance": start.variances[layer]}
            | {"mean_trained": end.means[layer], "variance_trained": end.variances[layer]}
            | {"rate": tuned[depth][name].rate, "rate_at_edge": tuned[depth][name].at_edge}
            | {"accuracy": tuned[depth][name].accuracies[seed]}
            for (name, depth), each in signals.items()
            for seed, (start, end) in enumerate(each)
            for layer in range(depth)
        ]
        variances = {
            name: [start.variances[-1] for start, _ in signals[name, depths[-1]]]
            for name in NETWORKS
        }
        labels = problem.labels[problem.split.test]
        verdict, number, text = judge(correct, labels == labels.mode().values, variances)
        return Finding(verdict, number, text, self._draw(problem, signals, correct), rows)

    def signals(
        self, problem: Problem, name: str, depth: int, tuned: Tuned
    ) -> list[tuple[Signal, Signal]]:
        """Return the signal on the training rows before and after training, for each seed."""
        features, _ = problem.train
        found = []
        for seed, run in enumerate(tuned.runs):
            network = build_head(self._head(name, depth), problem, seed=seed)
            start = signal(settle_norms_(network, features), features)
            network.load_state_dict(run.state)
            found.append((start, signal(network, features)))
        return found

    def _tune(self, problem: Problem, depth: int) -> dict[str, Tuned]:
        return tune(
            problem,
            {name: self._head(name, depth) for name in NETWORKS},
            rates=self.rates,
            seeds=self.seeds,
            recipe=Recipe(epochs=self.epochs, batch_size=self.batch_size),
            cost=lambda run: run.val_losses[-1],
        )

    def _head(self, name: str, depth: int) -> Head:
        return {"hidden_features": [self.width] * depth, **NETWORKS[name]}

    def _draw(
        self,
        problem: Problem,
        signals: Mapping[tuple[str, int], Sequence[tuple[Signal, Signal]]],
        correct: Mapping[int, Mapping[str, Tensor]],
    ) -> "Figure":
        depths = list(correct)
        layers = range(1, depths[-1] + 1)
        figure, panels = new_figure(3)
        for number, name in enumerate(NETWORKS):
            starts = [start for start, _ in signals[name, depths[-1]]]
            style: dict[str, Any] = {"label": name, "number": number}
            means, variances = zip(*starts, strict=True)
            draw_series(panels[0], layers, means, **style, markers=False)
            draw_series(panels[1], layers, variances, **style, markers=False)
            accuracies = [correct[depth][name].double().mean(dim=1).tolist() for depth in depths]
            draw_series(panels[2], depths, list(zip(*accuracies, strict=True)), **style)
        panels[0].set(xlabel="hidden layer", ylabel="mean of outputs at the start")
        panels[1].set(xlabel="hidden layer", ylabel="variance over rows at the start")
        panels[1].set_yscale("log")
        panels[2].set(xlabel="hidden layers in all", ylabel="accuracy on test rows")
        panels[2].set_xticks(depths)
        panels[2].axhline(problem.chance, color="0.5", linewidth=0.8)
        draw_legend(figure, panels[2])
        return figure


@torch.no_grad()
def settle_norms_(network: nn.Module, features: Tensor) -> nn.Module:
    """Set the statistics of each batch norm to those of the rows: a new one has seen none.

    Args:
        network: The network; its other layers stay as they are.
        features: ``(B, num_features)``.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()(features)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network


def signal(network: nn.Module, features: Tensor) -> Signal:
    """Return mean and variance of what comes out of each hidden layer."""
    outputs = hidden_outputs(network, features)
    return Signal(
        [float(each.mean()) for each in outputs],
        [float(each.var(dim=0, correction=0).mean()) for each in outputs],
    )


def judge(
    correct: Mapping[int, Mapping[str, Tensor]],
    most_frequent: Tensor,
    variances: Mapping[str, Sequence[float]],
) -> tuple[Verdict, str, str]:
    """Return verdict, number and text.

    At the largest depth, with differences over rows and seeds beyond noise (p < 0.05): it holds if
    selu is better than chance and batch norm is not better than selu; in part if batch norm is
    better, but relu without norm worse. It cannot be told if nothing is better than chance or
    selu, or if neither selu nor batch norm is better and the interval is wider than 5 points to
    each side.

    Args:
        correct: Whether each test row is right ``(S, N)``, by depth, ascending, and network.
        most_frequent: Whether each test row is of the most frequent class, ``(N,)``.
        variances: Of the outputs of the last hidden layer at the start, for each seed.
    """
    shallow, deep = min(correct), max(correct)
    at_depth = correct[deep]
    guesses = most_frequent.expand_as(at_depth[SELU])
    found = {each.name: each for each in compare({**at_depth, CHANCE: guesses}, SELU)}
    leads = {name: each.is_finding and each.estimate.mean > 0 for name, each in found.items()}
    trails = {name: each.is_finding and each.estimate.mean < 0 for name, each in found.items()}
    low, high = found[NORMED].estimate.interval
    unclear = not found[NORMED].is_finding and (high - low) / 2 > WIDEST
    verdict: Verdict
    if not trails[CHANCE]:
        verdict = "does not hold here" if leads[RELU] or leads[NORMED] else "cannot be told here"
    elif leads[NORMED]:
        verdict = "holds in part" if trails[RELU] else "does not hold here"
    else:
        verdict = "cannot be told here" if unclear else "holds"
    accuracies = {name: float(each.double().mean()) for name, each in at_depth.items()}
    number = (
        f"accuracy with {deep} hidden layers: "
        + ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in accuracies.items())
        + f"; selu less batch norm: {0.0 - 100 * found[NORMED].estimate.mean:+.1f} points "
        f"(+- {50 * (high - low):.1f})"
    )
    lost = ", ".join(
        f"{name} {100 * (float(correct[shallow][name].double().mean()) - accuracies[name]):.1f}"
        for name in (at_depth if deep > shallow else ())
    )
    kept = ", ".join(f"{name} {statistics.fmean(each):.2g}" for name, each in variances.items())
    told = {
        "holds": "SELU trains at this depth and is not behind batch norm",
        "holds in part": "SELU trains where relu without norm does worse, but is behind batch norm",
        "does not hold here": "SELU does not replace batch norm here",
        "cannot be told here": "Nothing is beyond the error of rows and seeds, or nothing learned",
    }
    text = (
        f"{told[verdict]}"
        + ("" if trails[RELU] else "; relu without norm is not behind it beyond noise either")
        + f". At the start the variance over rows behind the last hidden layer is {kept}; no "
        + "network has skip connections, by which very deep ones train with batch norm. "
        + (f"From {shallow} to {deep} layers accuracy loses (points): {lost}. " if lost else "")
        + "In tltool set `activation: selu`, `initializer: lecun_normal`, `norm: null` and "
        + "`input_norm: standardize`."
    )
    return verdict, number, text
