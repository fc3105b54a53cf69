"""Saturated units kill gradients."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tltool.comparison.training_settings import Recipe
from tltool.lecture.experiment import Experiment, Finding, Verdict, verdict_of
from tltool.lecture.pictures import draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.training import Trial, build_head, gradient_norms, train_trials

BATCH = 256
"""Rows that the gradient at the start is taken on."""


@dataclass(frozen=True)
class Saturation(Experiment):
    """The gradient of each layer at the start, and the loss after some epochs, by depth.

    Args:
        activations: Activations, each with the initializer that suits it.
        depths: Numbers of hidden layers.
        width: Units of each.
        rate: Learning rate of AdamW, one for all.
        epochs: Length of the training.
        seeds: Number of seeds.
    """

    title = "Saturation"
    claim = "Sigmoid and tanh units saturate, and saturated units kill the gradients."
    source = (
        "CS231n; Glorot & Bengio, 2010, section 3, https://proceedings.mlr.press/v9/glorot10a.html"
    )
    shows = ("sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign")

    activations: Sequence[str] = ("sigmoid", "tanh", "relu")
    depths: Sequence[int] = (2, 5, 10, 20)
    width: int = 64
    rate: float = 1e-3
    epochs: int = 10
    seeds: int = 3

    def __post_init__(self) -> None:
        if "relu" not in self.activations or len(self.activations) < 2:
            raise ValueError(
                "`activations` must be relu, which the others are compared with, and others, got "
                f"{list(self.activations)}."
            )

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        problem = problem.standardized()
        deepest = max(self.depths)
        norms = {name: self.gradients(problem, name, deepest) for name in self.activations}
        losses = self._losses(problem)
        figure, (left, right) = new_figure(2)
        for number, name in enumerate(self.activations):
            layers = range(1, deepest + 2)
            draw_series(left, layers, norms[name], label=name, number=number)
            curves = zip(*(losses[name, depth] for depth in self.depths), strict=True)
            draw_series(right, self.depths, list(curves), label=name, number=number)
        left.set(xlabel="layer, from the input", ylabel="norm of its gradient at step 0")
        left.set(yscale="log")
        right.set(xlabel="hidden layers", ylabel=f"training loss after {self.epochs} epochs")
        right.set_xticks(self.depths)
        draw_legend(figure, left)
        first = {name: statistics.median(each[0] for each in norms[name]) for name in norms}
        rows = [
            {
                "activation": name,
                "depth": depth,
                "seed": seed,
                "training_loss": loss,
                "first_layer_gradient_at_deepest": norms[name][seed][0],
            }
            for (name, depth), each in losses.items()
            for seed, loss in enumerate(each)
        ]
        return Finding(*self._judge(first, losses), figure, rows)

    def gradients(self, problem: Problem, activation: str, depth: int) -> list[list[float]]:
        """Return the norm of each layer's gradient at the start, for each seed."""
        features, labels = (rows[:BATCH] for rows in problem.train)
        heads = [
            build_head(self._head(activation, depth), problem, seed=seed)
            for seed in range(self.seeds)
        ]
        return [gradient_norms(head, features, labels) for head in heads]

    def _losses(self, problem: Problem) -> dict[tuple[str, int], list[float]]:
        """Return the training loss at the end, for each seed."""
        keys = [(name, depth) for name in self.activations for depth in self.depths]
        trials = [Trial(self._head(*key), s, self.rate) for key in keys for s in range(self.seeds)]
        recipe = Recipe(epochs=self.epochs, warmup=0.0, decay="none")
        found = iter(train_trials(problem, trials, recipe=recipe, optimizer="AdamW"))
        return {key: [next(found).train_losses[-1] for _ in range(self.seeds)] for key in keys}

    def _head(self, activation: str, depth: int) -> dict[str, Any]:
        return {"hidden_features": [self.width] * depth, "activation": activation}

    def _judge(
        self, first: Mapping[str, float], losses: Mapping[tuple[str, int], Sequence[float]]
    ) -> tuple[Verdict, str, str]:
        deepest = max(self.depths)
        others = [name for name in self.activations if name != "relu"]
        shares = {name: first[name] / first["relu"] for name in others}
        ends = {name: statistics.fmean(losses[name, deepest]) for name in self.activations}
        number = (
            f"gradient of the first of {deepest} layers, relative to relu's: "
            + ", ".join(f"{name} {share:.1g}" for name, share in shares.items())
            + "; loss at the end: "
            + ", ".join(f"{name} {loss:.2f}" for name, loss in ends.items())
        )
        dead = [name for name in others if shares[name] < 1e-3]
        verdict = verdict_of([name in dead for name in others])
        spared = [name for name in others if name not in dead]
        text = (
            "Each layer multiplies the gradient by the slope of its activation, at most 1/4 for "
            "sigmoid, so that it shrinks with depth, and deep layers learn nothing in the same "
            f"time. {_listed(dead)} below a thousandth of relu's."
            + (
                f" With weights drawn so that signals keep their size, {_listed(spared)} not: what "
                "kills its gradients is where its inputs lie, not the function alone."
                if spared
                else ""
            )
        )
        return verdict, number, text


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "Nothing is"
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"
