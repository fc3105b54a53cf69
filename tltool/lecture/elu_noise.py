"""ELU and noise in the inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tltool.evaluation.paired_differences import Difference
from tltool.evaluation.paired_differences import judge as compare
from tltool.lecture.experiment import Experiment, Finding, Verdict
from tltool.lecture.pictures import draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.training import Head, Tuned, build_head, hidden_outputs, tune

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REFERENCE = "leaky_relu"
PAIR = ("elu", REFERENCE)


@dataclass(frozen=True)
class ELUNoise(Experiment):
    """Accuracy on test rows with noise in their inputs, for networks that trained without it.

    Each network takes the learning rate with the least loss on the rows that choose. All see the
    same noise.

    Args:
        activations: Activations; elu and leaky_relu are the ones that are judged.
        noises: Standard deviations of the Gaussian noise, in standard deviations of a feature.
        draws: How often noise is drawn for each seed.
        depth: Number of hidden layers.
        width: Units of each.
        rates: Learning rates of SGD with momentum 0.9 to choose from.
        epochs: Length of the training.
        seeds: Number of seeds.

    Raises:
        ValueError: If elu or leaky_relu is missing, or there is no noise.
    """

    title = "ELU and noise"
    claim = "The negative saturation of ELU adds some robustness to noise compared with leaky relu."
    source = "CS231n; Clevert et al., 2015, section 3, https://arxiv.org/abs/1511.07289"
    shows = ("elu", "leaky_relu")

    activations: Sequence[str] = ("relu", "leaky_relu", "elu")
    noises: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)
    draws: int = 10
    depth: int = 2
    width: int = 128
    rates: Sequence[float] = (3e-3, 1e-2, 3e-2, 1e-1)
    epochs: int = 20
    seeds: int = 3

    def __post_init__(self) -> None:
        if not {"elu", "leaky_relu"} <= set(self.activations):
            raise ValueError(
                "`activations` must hold elu and leaky_relu, which are compared; got "
                f"{list(self.activations)}. Write [leaky_relu, elu]."
            )
        if max(self.noises, default=0.0) <= 0 or min(self.noises) < 0:
            raise ValueError(
                "`noises` must hold a positive standard deviation and no negative one; got "
                f"{list(self.noises)}. Write [0.0, 0.5, 1.0]."
            )

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        problem = problem.standardized()
        noises = sorted({0.0, *self.noises})
        heads = {name: self._head(name) for name in self.activations}
        tuned = tune(
            problem,
            heads,
            rates=self.rates,
            seeds=self.seeds,
            recipe=Recipe(epochs=self.epochs),
            cost=lambda run: run.val_losses[-1],
        )
        scores, changes = {}, {}
        for name, head in heads.items():
            scores[name], changes[name] = self.under_noise(problem, head, tuned[name], noises)
        rows = [
            {"activation": name, "noise": noise, "seed": seed, "rate": tuned[name].rate}
            | {"rate_at_edge": tuned[name].at_edge}
            | {"accuracy": float(scores[name][place, seed].mean())}
            | {"relative_change": float(changes[name][place, seed])}
            for name in self.activations
            for place, noise in enumerate(noises)
            for seed in range(self.seeds)
        ]
        at_most = {name: float(each[-1].mean()) for name, each in changes.items()}
        figure = self._draw(problem, noises, scores, changes)
        return Finding(*judge(scores, noises[-1], at_most), figure, rows)

    def under_noise(
        self, problem: Problem, head: Head, tuned: Tuned, noises: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Return how right each test row is, and how far the last hidden layer moves.

        Returns:
            The share of draws in which each row is right, ``(noises, S, N)``, and the norm of the
            change of the last hidden outputs in relation to their norm, ``(noises, S)``.
        """
        features, labels = (rows[problem.split.test] for rows in (problem.features, problem.labels))
        scores = torch.zeros(len(noises), self.seeds, len(labels), dtype=torch.float64)
        changes = torch.zeros(len(noises), self.seeds, dtype=torch.float64)
        for seed, run in enumerate(tuned.runs):
            network = build_head(head, problem, seed=seed).eval()
            network.load_state_dict(run.state)
            clean = hidden_outputs(network, features)[-1].double()  # A large one overflows.
            generator = torch.Generator().manual_seed(seed)
            for _ in range(self.draws):
                noise = torch.randn(features.shape, generator=generator)
                for place, size in enumerate(noises):
                    noisy = features + size * noise
                    moved = hidden_outputs(network, noisy)[-1] - clean
                    with torch.no_grad():
                        scores[place, seed] += network(noisy).argmax(dim=1) == labels
                    changes[place, seed] += moved.norm() / clean.norm().clamp_min(1e-12)
        return scores / self.draws, changes / self.draws

    def _draw(
        self,
        problem: Problem,
        noises: Sequence[float],
        scores: Mapping[str, Tensor],
        changes: Mapping[str, Tensor],
    ) -> "Figure":
        figure, panels = new_figure(3)
        accuracies = {name: each.mean(dim=2).T for name, each in scores.items()}  # (S, noises)
        for number, name in enumerate(self.activations):
            style: dict[str, Any] = {"label": name, "number": number}
            leads = 100 * (accuracies[name] - accuracies[REFERENCE])
            draw_series(panels[0], noises, accuracies[name], **style)
            draw_series(panels[1], noises, leads, **style)
            draw_series(panels[2], noises, changes[name].T, **style)
        panels[0].axhline(problem.chance, color="0.5", linewidth=0.8)
        panels[0].set_ylabel("accuracy on test rows")
        panels[1].set_ylabel("points above leaky relu")
        panels[2].set_ylabel("relative change of last layer")
        for axes in panels:
            axes.set_xlabel("noise / std of a feature")
        draw_legend(figure, panels[0])
        return figure

    def _head(self, activation: str) -> dict[str, Any]:
        return {"hidden_features": [self.width] * self.depth, "activation": activation}


def judge(
    scores: Mapping[str, Tensor], noise: float, changes: Mapping[str, float]
) -> tuple[Verdict, str, str]:
    """Return verdict, number and text.

    It holds if elu is more accurate than leaky relu at the largest noise, and loses less from no
    noise to there, both beyond noise (p < 0.05, over rows and seeds); in part if it is more
    accurate but does not lose less. Where neither is more accurate it cannot be told.

    Args:
        scores: How right each test row is by activation, ``(noises, S, N)``, first without noise.
        noise: The largest one.
        changes: How far it moves the last hidden layer, in relation to its norm.
    """
    (at_most,) = compare({name: scores[name][-1] for name in PAIR}, REFERENCE)
    (clean,) = compare({name: scores[name][0] for name in PAIR}, REFERENCE)
    (kept,) = compare({name: scores[name][-1] - scores[name][0] for name in PAIR}, REFERENCE)
    better = at_most.is_finding and at_most.estimate.mean > 0
    tougher = kept.is_finding and kept.estimate.mean > 0
    verdict: Verdict = (
        "cannot be told here"
        if not at_most.is_finding
        else "does not hold here"
        if not better
        else "holds"
        if tougher
        else "holds in part"
    )
    accuracies = ", ".join(f"{name} {each[-1].mean():.3f}" for name, each in scores.items())
    number = (
        f"accuracy at noise of {noise:g} standard deviations: {accuracies}; elu less leaky relu: "
        + _points(at_most)
    )
    told = {
        "holds": "ELU loses less of its accuracy to noise than leaky relu",
        "holds in part": "ELU is more accurate under noise, but that it loses less to noise is not "
        "beyond the error of rows and seeds",
        "does not hold here": "Leaky relu is more accurate under noise than ELU",
        "cannot be told here": "No difference under noise is beyond the error of rows and seeds",
    }
    lost = 100 * (scores[REFERENCE][0] - scores[REFERENCE][-1]).mean()
    text = (
        f"{told[verdict]}: without noise the difference is {_points(clean)}, and of the {lost:.1f} "
        f"points that noise takes from leaky relu ELU saves {_points(kept)}. Below zero ELU "
        "saturates at -1, but leaky relu with its slope of 0.01 is nearly flat there too: noise "
        f"moves the last hidden layer by {changes['elu']:.0%} of its norm with ELU and "
        f"{changes[REFERENCE]:.0%} with leaky relu. Choose between them by `tltool compare` on "
        "your photos."
    )
    return verdict, number, text


def _points(difference: Difference) -> str:
    low, high = difference.estimate.interval
    half = (high - low) / 2
    return f"{100 * difference.estimate.mean:+.1f} points (+- {100 * half:.1f})"
