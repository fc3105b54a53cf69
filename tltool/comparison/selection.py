"""Every head at every rate, and the rate that each chooses on photos that report nothing."""

import logging
import math
import statistics
from collections import Counter
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from tltool.comparison.optimizers import base_rate
from tltool.comparison.rates import Score, choose_rate, is_at_edge, rate_grid, wider_rates
from tltool.comparison.result import Row
from tltool.comparison.trainings import Job, Outcome, Trainings
from tltool.evaluation.paired_differences import estimate_mean

log = logging.getLogger(__name__)

Unit = tuple[str, int]
"""A head and a split: there it chooses one rate for all seeds."""


class Selection:
    """Trains every head at every rate and sums up what each came to at its choice.

    Each choice looks at the photos of its own split that choose, and at nothing else; so does the
    decision to go on beyond the edge of the grid.

    Args:
        trainings: What trains.
        lr: One rate for all; ``None`` for a choice.
        show_progress: Show a bar on the error stream.
    """

    def __init__(self, trainings: Trainings, *, lr: float | None, show_progress: bool) -> None:
        self.trainings = trainings
        self.show_progress = show_progress
        self.grids = {
            name: [lr] if lr is not None else rate_grid(base_rate(variant.optimizer))
            for name, variant in trainings.variants.items()
        }
        self.tried: dict[Unit, list[float]] = {
            (name, split): list(grid)
            for name, grid in self.grids.items()
            for split in range(len(trainings.splits))
        }
        self.outcomes: dict[Job, Outcome] = {}
        self.chosen: dict[Unit, float] = {}

    def run(self) -> None:
        """Train, and train beyond the edge where it was chosen."""
        jobs = [job for unit, rates in self.tried.items() for job in self._jobs(unit, rates)]
        log.info(
            "Training %d heads (%s); choices at the edge of the rates add some.",
            len(jobs),
            self._describe(),
        )
        self._train(jobs)
        wider = {unit: wider_rates(self._choose(unit), rates) for unit, rates in self.tried.items()}
        self._train([job for unit, rates in wider.items() for job in self._jobs(unit, rates)])
        for unit, rates in wider.items():
            self.tried[unit] += rates
            self.chosen[unit] = self._choose(unit)

    def correct(self, name: str, photos: Tensor) -> Tensor:
        """Return whether each photo is right for each seed, ``(S, len(photos))``."""
        position = {row: column for column, row in enumerate(photos.tolist())}
        result = torch.zeros(len(self.trainings.seeds), len(photos), dtype=torch.float64)
        for job in self._chosen_jobs(name):
            rows = self.trainings.splits[job.split].test.tolist()
            columns = [position[row] for row in rows]
            result[job.seed, columns] = self.outcomes[job].correct.double()
        return result

    def loss_half_way(self, name: str) -> float:
        """Return the mean training loss of a head after half of its epochs."""
        losses = self._curve([self.outcomes[job].train_losses for job in self._chosen_jobs(name)])
        return losses[(len(losses) - 1) // 2]

    def row(
        self, name: str, correct: Tensor, groups: Sequence[int] | None, target_loss: float
    ) -> Row:
        """Return what a head came to at its choices."""
        jobs = self._chosen_jobs(name)
        found = [self.outcomes[job] for job in jobs]
        units = [unit for unit in self.tried if unit[0] == name]
        edges = [is_at_edge(self.chosen[unit], self.tried[unit]) for unit in units]
        epochs = statistics.median(_epochs_to(target_loss, each.train_losses) for each in found)
        return Row(
            name=name,
            accuracy=estimate_mean(correct, groups),
            rate=Counter(self.chosen[unit] for unit in units).most_common(1)[0][0],
            at_edge=sum(edges) / len(edges),
            num_parameters=self.trainings.num_parameters(name),
            epochs_to_loss=epochs if math.isfinite(epochs) else None,
            sensitivity=self._sensitivity(units),
            dead=statistics.fmean(outcome.dead for outcome in found),
            saturated=statistics.fmean(outcome.saturated for outcome in found),
            seconds=statistics.fmean(outcome.seconds for outcome in found),
            warnings=self.trainings.variants[name].warnings(self.trainings.recipe.batch_size),
            train_losses=self._curve([outcome.train_losses for outcome in found]),
            val_losses=self._curve([outcome.val_losses for outcome in found]),
        )

    def _describe(self) -> str:
        num_seeds, num_splits = len(self.trainings.seeds), len(self.trainings.splits)
        counts = {
            "variants": len(self.grids),
            "rates": len(next(iter(self.grids.values()))),
            "seeds": num_seeds,
            "folds": num_splits // num_seeds if num_splits > 1 else 1,
        }
        return " x ".join(f"{count} {what}" for what, count in counts.items() if count > 1) or "one"

    def _jobs(self, unit: Unit, rates: Sequence[float]) -> list[Job]:
        seeds = self.trainings.splits[unit[1]].seeds
        return [Job(*unit, seed=seed, rate=rate) for seed in seeds for rate in rates]

    def _train(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        with Progress(
            TextColumn("training heads"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not self.show_progress,
        ) as progress:
            bar = progress.add_task("", total=len(jobs) * self.trainings.recipe.epochs)
            self.outcomes |= self.trainings.run(jobs, lambda heads: progress.advance(bar, heads))

    def _choose(self, unit: Unit) -> float:
        rates = self.tried[unit]
        if len(rates) == 1:
            return rates[0]
        return choose_rate({rate: self._score(unit, rate) for rate in rates})

    def _score(self, unit: Unit, rate: float) -> Score:
        found = [self.outcomes[job] for job in self._jobs(unit, [rate])]
        return Score(
            statistics.fmean(outcome.val_accuracy for outcome in found),
            statistics.fmean(outcome.val_losses[-1] for outcome in found),
        )

    def _chosen_jobs(self, name: str) -> list[Job]:
        return [
            job
            for unit, rate in self.chosen.items()
            if unit[0] == name
            for job in self._jobs(unit, [rate])
        ]

    def _sensitivity(self, units: Sequence[Unit]) -> float | None:
        """Return how much the validation accuracy differs over the grid that all heads share."""
        grid = self.grids[units[0][0]]
        if len(grid) == 1:
            return None
        means = [statistics.fmean(self._score(u, rate).accuracy for u in units) for rate in grid]
        return max(means) - min(means)

    @staticmethod
    def _curve(curves: Sequence[Sequence[float]]) -> list[float]:
        return [statistics.fmean(values) for values in zip(*curves, strict=True)]


def _epochs_to(target_loss: float, losses: Sequence[float]) -> float:
    return next((epoch + 1 for epoch, loss in enumerate(losses) if loss <= target_loss), math.inf)
