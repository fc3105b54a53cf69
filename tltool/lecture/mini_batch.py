"""The gradient of a batch is a noisy estimate of the whole one."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from tltool.evaluation.paired_differences import estimate_mean
from tltool.lecture.experiment import Experiment, Finding, Verdict, verdict_of
from tltool.lecture.gradient_noise import Noise, gradient_noise, slope
from tltool.lecture.pictures import draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.training import Tuned, build_head, tune

SGD = {"name": "SGD", "momentum": 0.0}
STAGES = ("at the start", "after training")


@dataclass(frozen=True)
class MiniBatch(Experiment):
    """The noise of the gradient by batch size, and the loss for equal numbers of images.

    Each batch size chooses its learning rate of plain SGD, by the training loss at the end. The
    training loss is that of all training rows after each epoch, so that it means the same for all.

    Args:
        batch_sizes: Numbers of rows whose gradient is compared with that of all, rising.
        draws: Batches of each at least; more where every row would not come otherwise.
        trained_sizes: Numbers of rows in a step of a training; all rows in one step are tried too.
        hidden_features: Width of each hidden layer.
        rates: Learning rates to choose from.
        epochs: Length of the training, in passes over the training rows.
        seeds: Number of seeds.

    Raises:
        ValueError: If batch sizes are too few or do not rise, or a number is below 1.
    """

    title = "Mini-batches"
    claim = "The gradient of a mini-batch is a noisy estimate of the whole one, and good enough."
    source = "CS231n; Bottou et al., 2018, section 4.2, https://arxiv.org/abs/1606.04838"

    batch_sizes: Sequence[int] = (1, 4, 16, 64, 256)
    draws: int = 100
    trained_sizes: Sequence[int] = (8, 32, 128)
    hidden_features: Sequence[int] = (64,)
    rates: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    epochs: int = 10
    seeds: int = 3

    def __post_init__(self) -> None:
        sizes = list(self.batch_sizes)
        if len(sizes) < 2 or sizes != sorted(set(sizes)):
            raise ValueError(f"`batch_sizes` must hold at least 2 sizes, rising, got {sizes}.")
        if not self.trained_sizes:
            raise ValueError("`trained_sizes` must hold at least 1 size, got none.")
        numbers = (*self.batch_sizes, *self.trained_sizes, self.draws, self.seeds)
        if min(numbers) < 1:
            raise ValueError(
                "`batch_sizes`, `trained_sizes`, `draws` and `seeds` must be at least 1, got "
                f"{min(numbers)}."
            )

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        problem = problem.standardized()
        tuned = self.train(problem)
        middle = list(tuned)[len(tuned) // 2]
        noise: dict[str, list[list[Noise]]] = {stage: [] for stage in STAGES}  # (S, sizes)
        for seed, run in enumerate(tuned[middle].runs):
            head = build_head(self._head, problem, seed=seed)
            noise[STAGES[0]].append(self._noise(head, problem, seed))
            head.load_state_dict(run.state)
            noise[STAGES[1]].append(self._noise(head, problem, seed))
        num_rows = len(problem.split.train)
        figure = self._draw(num_rows, noise, tuned)
        rows = list(self._rows(num_rows, noise, tuned))
        return Finding(*judge(self.batch_sizes, noise, tuned), figure, rows)

    @property
    def _head(self) -> dict[str, Any]:
        return {"hidden_features": list(self.hidden_features)}

    def train(self, problem: Problem) -> dict[int, Tuned]:
        """Return the runs of each batch size at its best rate, all rows in one step last.

        Validation losses are those of the training rows.
        """
        train = problem.split.train
        problem = replace(problem, split=replace(problem.split, val=train))
        sizes = sorted({size for size in self.trained_sizes if size < len(train)} | {len(train)})
        tuned = {}
        for size in sizes:
            recipe = Recipe(epochs=self.epochs, batch_size=size, warmup=0.0, decay="none")
            found = tune(
                problem,
                {"network": self._head},
                rates=self.rates,
                seeds=self.seeds,
                recipe=recipe,
                cost=lambda run: run.val_losses[-1],
                optimizer=SGD,
            )
            tuned[size] = found["network"]
        return tuned

    def _noise(self, head: nn.Module, problem: Problem, seed: int) -> list[Noise]:
        features, labels = problem.train
        return [
            gradient_noise(head, features, labels, batch_size=size, draws=self.draws, seed=seed)
            for size in self.batch_sizes
        ]

    def _draw(
        self,
        num_rows: int,
        noise: Mapping[str, Sequence[Sequence[Noise]]],
        tuned: Mapping[int, Tuned],
    ) -> Any:
        figure, (left, middle, right) = new_figure(3)
        for number, stage in enumerate(STAGES):
            for axes, field in ((left, "error"), (middle, "cosine")):
                # Not the seeds in which no gradient is left.
                kept = [seed for seed in noise[stage] if seed[0].error > 0] or noise[stage]
                values = [[getattr(each, field) for each in seed] for seed in kept]
                draw_series(axes, self.batch_sizes, values, label=stage, number=number)
        first, *_ = self.batch_sizes
        start = statistics.fmean(seed[0].error for seed in noise[STAGES[0]])
        law = [start * math.sqrt(first / size) for size in self.batch_sizes]
        left.plot(self.batch_sizes, law, color="0.4", linewidth=0.8, label="1 / sqrt(rows)")
        images = [num_rows * epoch for epoch in range(1, self.epochs + 1)]
        for number, (size, found) in enumerate(tuned.items(), start=len(STAGES)):
            losses = [[max(loss, 1e-9) for loss in run.val_losses] for run in found.runs]
            label = f"{size} rows a step" if size < num_rows else f"all {size} rows a step"
            draw_series(right, images, losses, label=label, number=number, markers=False)
        left.set(xscale="log", yscale="log", ylabel="relative error of the gradient")
        middle.set(xscale="log", ylabel="its cosine with the whole gradient")
        for axes in (left, middle):
            axes.set_xlabel("rows in the batch")
            axes.set_xticks(self.batch_sizes, [str(size) for size in self.batch_sizes])
            axes.minorticks_off()
        right.set(yscale="log", xlabel="images seen", ylabel="loss of all training rows")
        draw_legend(figure, left, right)
        return figure

    def _rows(
        self,
        num_rows: int,
        noise: Mapping[str, Sequence[Sequence[Noise]]],
        tuned: Mapping[int, Tuned],
    ) -> Iterator[dict[str, Any]]:
        """Yield each number as (batch size, rate, images seen, seed, measure, value)."""
        images = self.epochs * num_rows
        for stage, seen in zip(STAGES, (0, images), strict=True):
            for seed, of_seed in enumerate(noise[stage]):
                for size, found in zip(self.batch_sizes, of_seed, strict=True):
                    yield _row(size, None, seen, seed, "relative error", found.error)
                    yield _row(size, None, seen, seed, "cosine", found.cosine)
        for size, network in tuned.items():
            for seed, run in enumerate(network.runs):
                for epoch, loss in enumerate(run.val_losses, start=1):
                    seen = epoch * num_rows
                    yield _row(size, network.rate, seen, seed, "training loss", loss)
                accuracy = network.accuracies[seed]
                yield _row(size, network.rate, images, seed, "test accuracy", accuracy)


def judge(
    sizes: Sequence[int],
    noise: Mapping[str, Sequence[Sequence[Noise]]],
    tuned: Mapping[int, Tuned],
) -> tuple[Verdict, str, str]:
    """Return verdict, number and text.

    The estimate is noisy as stated if its error goes by a power of the batch size within 0.1 of
    -1/2, at both stages; it is good enough if for as many images some mini-batch size ends at a
    lower mean loss than steps of all rows, beyond the range over seeds. Both: it holds.

    Args:
        sizes: Batch sizes of the noise.
        noise: At each stage, for each seed and batch size.
        tuned: Runs by rows in a step, last all rows.
    """
    kept = {stage: [row for row in noise[stage] if row[0].error > 0] for stage in STAGES}
    slopes = {
        stage: statistics.fmean(slope(sizes, [each.error for each in row]) for row in rows)
        for stage, rows in kept.items()
        if rows
    }
    is_noise = bool(slopes) and all(abs(power + 0.5) <= 0.1 for power in slopes.values())
    number = "error of the gradient goes by the batch size to the power " + " and ".join(
        f"{slopes[stage]:.2f} {stage}" if stage in slopes else f"(no gradient left) {stage}"
        for stage in STAGES
    )
    *small, whole = tuned
    if not small:
        text = "There are so few rows that every step took them all: there is nothing to compare."
        return "cannot be told here", number, text
    ends = {size: [run.val_losses[-1] for run in tuned[size].runs] for size in tuned}
    means = {size: statistics.fmean(losses) for size, losses in ends.items()}
    best = min(small, key=lambda size: (not math.isfinite(means[size]), means[size]))
    is_enough = max(ends[best]) < min(ends[whole])
    verdict = verdict_of([is_noise, is_enough])
    accuracy = estimate_mean(
        torch.stack([run.correct.double() for run in tuned[best].runs])
        - torch.stack([run.correct.double() for run in tuned[whole].runs])
    )
    noise_of_it = 2 * accuracy.standard_error
    number += "; training loss after as many images: " + ", ".join(
        f"{mean:.2g} with {size if size < whole else f'all {size}'} rows a step"
        for size, mean in means.items()
    )
    off = [
        statistics.fmean([row[place].error for row in kept[stage]] or [math.nan])
        for stage, place in ((STAGES[0], 0), (STAGES[0], -1), (STAGES[1], 0))
    ]
    text = (
        f"The gradient of a batch of {sizes[0]} is off by {off[0]:.1f} times the whole gradient at "
        f"the start and by {off[2]:.1f} times after training, when the whole one is small; that of "
        f"{sizes[-1]} by {off[1]:.2f} at the start, for the error of rows drawn at random must "
        "fall by the square root of their number. Each batch size at its best rate, steps of "
        f"{best} rows end {'lower' if is_enough else 'not lower beyond the range over seeds'} than "
        f"steps of all rows for as many images; test accuracy {accuracy.mean:+.3f} against them, "
        f"{'beyond' if abs(accuracy.mean) > noise_of_it else 'within'} noise (two standard errors: "
        f"{noise_of_it:.3f}). "
        + ("Many noisy steps beat few exact ones: choose" if is_enough else "Choose")
        + " `batch_size` for speed, and the learning rate anew with it."
    )
    return verdict, number, text


def _row(*values: Any) -> dict[str, Any]:
    names = ("rows_in_the_batch", "rate", "images_seen", "seed", "measure", "value")
    return dict(zip(names, values, strict=True))
