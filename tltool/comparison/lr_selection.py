"""Selection of learning rates: every head at every one, and the choice on its tuning split."""

import itertools
import logging
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from tltool.comparison.head_outputs import per_image
from tltool.comparison.optimizers import base_lr
from tltool.comparison.result import HeadResult
from tltool.comparison.training_progress import training_progress
from tltool.comparison.trainings import Job, Outcome, Trainings
from tltool.comparison.variants import Variant
from tltool.evaluation.paired_differences import estimate_score
from tltool.finetuning.durations import describe_duration

log = logging.getLogger(__name__)

#: The grid of learning rates around an optimizer's own.
FACTORS = (1 / 3, 1.0, 3.0)
#: Beyond an edge that was chosen, the grid goes on with these factors, once.
WIDER = (3.0, 9.0)

#: One learning rate, or that of each optimizer.
LR = float | Literal["usual"]
#: A head and a split: there it chooses one learning rate for all seeds.
Unit = tuple[str, int]


def is_at_edge(lr: float, lrs: Sequence[float]) -> bool:
    """Return whether a better learning rate may lie beyond those that were tried."""
    return len(lrs) > 1 and lr in (min(lrs), max(lrs))


def wider_lrs(lr: float, lrs: Sequence[float]) -> list[float]:
    """Return the learning rates to try beyond the edge that was chosen; none if it lies inside.

    Example:
        >>> wider_lrs(3.0, [0.3, 1.0, 3.0]), wider_lrs(1.0, [0.3, 1.0, 3.0])
        ([9.0, 27.0], [])
    """
    factors = WIDER if is_at_edge(lr, lrs) else ()
    return [lr * factor if lr == max(lrs) else lr / factor for factor in factors]


def _grid(variant: Variant, lr: LR | None) -> list[float]:
    if lr is None:
        return [factor * base_lr(variant.optimizer) for factor in FACTORS]
    return [base_lr(variant.optimizer) if lr == "usual" else float(lr)]


class Selection:
    """Trains every head at every learning rate and sums up what each came to at its choice.

    Each choice looks at its own tuning split, and at nothing else; so does the decision to go on
    beyond the edge of the grid.

    Args:
        trainings: What trains.
        lr: One learning rate for all, or the usual one of each optimizer; ``None`` for a choice.
        show_progress: Say how long it takes, and show a bar on the error stream, or lines where it
            is no terminal.
    """

    def __init__(self, trainings: Trainings, *, lr: LR | None, show_progress: bool) -> None:
        self.trainings = trainings
        self.show_progress = show_progress
        self.grids = {name: _grid(each, lr) for name, each in trainings.variants.items()}
        self.chooses = lr is None
        units = itertools.product(self.grids, range(len(trainings.splits)))
        self.tried: dict[Unit, list[float]] = {unit: [*self.grids[unit[0]]] for unit in units}
        self.outcomes: dict[Job, Outcome] = {}
        self.chosen: dict[Unit, float] = {}

    def run(self) -> None:
        """Train, and train beyond the edge where it was chosen.

        Raises:
            ValueError: If every training diverged at its choice.
        """
        jobs = [job for unit, lrs in self.tried.items() for job in self._jobs(unit, lrs)]
        seconds = self.trainings.estimate_seconds(jobs) if self.show_progress else 0.0
        about = f", about {describe_duration(max(seconds, 1))}" if seconds else ""
        more = "; choices at the edge of the learning rates add two thirds at most"
        more = more if self.chooses else ""
        log.info("Training %d heads (%s)%s%s.", len(jobs), self._describe(), about, more)
        self._train(self.tried)
        wider = {unit: wider_lrs(self._choose(unit), lrs) for unit, lrs in self.tried.items()}
        self._train(wider)
        for unit, lrs in wider.items():
            self.tried[unit] += lrs
            self.chosen[unit] = self._choose(unit)
        jobs = [job for name in self.grids for job in self._chosen_jobs(name)]
        if all(self._has_diverged(job) for job in jobs):
            raise ValueError(
                f"Every training has diverged: its loss is no number any more, from lr "
                f"{min(job.lr for job in jobs):g} on. Set a lower --lr, or leave it out."
            )

    def per_image(self, name: str, images: Tensor) -> Tensor:
        """Return what each image contributes to the score for each seed, ``(S, len(images))``.

        Of a cross-validation the predictions of all folds count together.
        """
        trainings, jobs = self.trainings, self._chosen_jobs(name)
        kept = self.outcomes[jobs[0]].outputs.shape[1:]
        shape = (len(trainings.seeds), len(trainings.labels), *kept)
        outputs = torch.zeros(shape, dtype=torch.float64)
        for job in jobs:
            outputs[job.seed, trainings.splits[job.split].test] = self.outcomes[
                job
            ].outputs.double()
        labels, objective = trainings.labels[images], trainings.settings.objective
        return torch.stack([per_image(each[images], labels, objective) for each in outputs])

    def loss_half_way(self, name: str) -> float:
        """Return the mean training loss of a head after half of its epochs."""
        losses = _mean_curve([self.outcomes[job].train_losses for job in self._chosen_jobs(name)])
        return losses[(len(losses) - 1) // 2]

    def row(
        self, name: str, scores: Tensor, groups: Sequence[int] | None, target_loss: float
    ) -> HeadResult:
        """Return what a head came to at its choices."""
        jobs = self._chosen_jobs(name)
        found = [self.outcomes[job] for job in jobs]
        units = [unit for unit in self.tried if unit[0] == name]
        edges = [is_at_edge(self.chosen[unit], self.tried[unit]) for unit in units]
        epochs = statistics.median(_epochs_to(target_loss, each.train_losses) for each in found)
        return HeadResult(
            name=name,
            result=estimate_score(scores, groups, score=self.trainings.settings.score),
            lr=Counter(self.chosen[unit] for unit in units).most_common(1)[0][0],
            at_edge=sum(edges) / len(edges),
            num_parameters=self.trainings.num_parameters(name),
            epochs_to_loss=epochs if math.isfinite(epochs) else None,
            sensitivity=self._sensitivity(units),
            dead=statistics.fmean(outcome.dead for outcome in found),
            saturated=statistics.fmean(outcome.saturated for outcome in found),
            seconds=statistics.fmean(outcome.seconds for outcome in found),
            warnings=[
                *self.trainings.variants[name].warnings(self.trainings.settings.batch_size),
                *self._divergence_warnings(jobs),
            ],
            train_losses=_mean_curve([outcome.train_losses for outcome in found]),
            val_losses=_mean_curve([outcome.val_losses for outcome in found]),
        )

    def _describe(self) -> str:
        num_seeds, num_splits = len(self.trainings.seeds), len(self.trainings.splits)
        num_lrs, num_folds = len(next(iter(self.grids.values()))), num_splits // num_seeds
        counts = {"variants": len(self.grids), "learning rates": num_lrs}
        counts |= {"seeds": num_seeds, "folds": num_folds}
        return " x ".join(f"{count} {what}" for what, count in counts.items() if count > 1) or "one"

    def _jobs(self, unit: Unit, lrs: Sequence[float]) -> list[Job]:
        seeds = self.trainings.splits[unit[1]].seeds
        return [Job(*unit, seed=seed, lr=lr) for seed in seeds for lr in lrs]

    def _train(self, lrs: Mapping[Unit, Sequence[float]]) -> None:
        jobs = [job for unit, each in lrs.items() for job in self._jobs(unit, each)]
        total = len(jobs) * self.trainings.settings.epochs
        with training_progress(total, show=self.show_progress) as advance:
            self.outcomes |= self.trainings.run(jobs, advance)

    def _choose(self, unit: Unit) -> float:
        """Return the learning rate with the best score, among equals with the least loss.

        One at which a training diverged comes last: the accuracy there is that of the first class.
        """

        def rank(lr: float) -> tuple[bool, float, float]:
            is_finite = not any(self._has_diverged(job) for job in self._jobs(unit, [lr]))
            return is_finite, *self._score(unit, lr)

        lrs = self.tried[unit]
        return lrs[0] if len(lrs) == 1 else max(lrs, key=rank)

    def _has_diverged(self, job: Job) -> bool:
        return not math.isfinite(self.outcomes[job].train_losses[-1])

    def _divergence_warnings(self, jobs: Sequence[Job]) -> list[str]:
        number = sum(map(self._has_diverged, jobs))
        if not number:
            return []
        return [
            f"{number} of {len(jobs)} trainings diverged (the loss is no number), and their "
            "accuracy says nothing. Set a lower --lr."
        ]

    def _score(self, unit: Unit, lr: float) -> tuple[float, float]:
        """Return score and negative loss on the tuning split, as means over the seeds.

        Both are the larger the better: of an error it is the negative.
        """
        found = [self.outcomes[job] for job in self._jobs(unit, [lr])]
        loss = statistics.fmean(outcome.val_losses[-1] for outcome in found)
        score = statistics.fmean(outcome.val_score for outcome in found)
        if self.trainings.settings.score.smaller_is_better:
            score = -score
        return score, -math.inf if math.isnan(loss) else -loss

    def _chosen_jobs(self, name: str) -> list[Job]:
        chosen = [(unit, lr) for unit, lr in self.chosen.items() if unit[0] == name]
        return [job for unit, lr in chosen for job in self._jobs(unit, [lr])]

    def _sensitivity(self, units: Sequence[Unit]) -> float | None:
        """Return how much the validation score differs over the grid that all heads share."""
        grid = self.grids[units[0][0]]
        if len(grid) == 1:
            return None
        means = [statistics.fmean(self._score(u, lr)[0] for u in units) for lr in grid]
        return max(means) - min(means)


def _mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(values) for values in zip(*curves, strict=True)]


def _epochs_to(target_loss: float, losses: Sequence[float]) -> float:
    return next((epoch + 1 for epoch, loss in enumerate(losses) if loss <= target_loss), math.inf)
