"""A contest at the end of a run: candidates are measured as its validation does, and one chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from tltool.data.loading.batch_loader import BatchLoader, TrainingLoader
from tltool.data.loading.image_dataset import ImageDataset
from tltool.evaluation.candidates import Choice
from tltool.training.callbacks.checkpoints import BestCheckpoint
from tltool.training.callbacks.ending_files import TABLE, replace_best, write_candidates
from tltool.training.candidate_trial import CandidateTrial, restored_task
from tltool.training.head_start import is_limited
from tltool.training.image_task import ImageTask
from tltool.training.weight_blends import (
    BEST,
    START,
    MeasuredBlend,
    choose_blend,
    line_blends,
    measure_blends,
    measure_soups,
)

#: How weights are averaged at the end of a run.
Average = Literal["none", "wise_ft", "soup"]
Loaders = tuple[BatchLoader, TrainingLoader]


@dataclass(frozen=True)
class Contest:
    """What competes, and by which rule one of it is chosen.

    Args:
        average: See `Ending`.
        points: Shares of the end, see `Ending`.
        rule: See `choose_candidate`.
        best: It monitors what is compared.
    """

    average: Average
    points: Sequence[float]
    rule: Choice
    best: BestCheckpoint

    def hold(
        self,
        task: ImageTask,
        trainer: Trainer,
        loaders: Loaders,
        states: Mapping[str, dict[str, Tensor]],
    ) -> tuple[MeasuredBlend, list[MeasuredBlend]]:
        """Measure all candidates; return the chosen one and all. Every rank calls it.

        Args:
            task: The task, which is left as it was.
            trainer: Its Trainer.
            loaders: Of validation and of training images, see `contest_loaders`.
            states: What differs between the weights that take part, see `competing_states`.
        """
        changed = set(states[BEST])
        trial = CandidateTrial(task, trainer, *loaders, changed)
        with restored_task(task, loaders, changed):
            measured = self._measure(trial, states)
        dataset = loaders[0].images.dataset
        groups = dataset.samples.groups if isinstance(dataset, ImageDataset) else None
        monitor, mode = str(self.best.monitor), self.best.mode
        number = choose_blend(measured, monitor=monitor, mode=mode, rule=self.rule, groups=groups)
        return measured[trainer.strategy.broadcast(number)], measured

    def _measure(
        self, trial: CandidateTrial, states: Mapping[str, dict[str, Tensor]]
    ) -> list[MeasuredBlend]:
        ends = {name: state for name, state in states.items() if name != START}
        start = states.get(START)
        if self.average == "soup":
            measured = measure_soups(trial, ends, str(self.best.monitor), self.best.mode)
            return measured + measure_blends(trial, line_blends(start, {}, self.points))
        points = self.points if self.average == "wise_ft" else [0.0]
        if self.average == "none":
            ends = {BEST: ends[BEST]}
        return measure_blends(trial, line_blends(start, ends, points))

    def write(
        self,
        task: ImageTask,
        chosen: MeasuredBlend,
        measured: Sequence[MeasuredBlend],
        *,
        is_first: bool,
    ) -> None:
        """Write ``best.ckpt`` and the table, on the first rank; tell `BestCheckpoint` of it."""
        best, candidate, monitor = self.best, chosen.candidate, str(self.best.monitor)
        directory = Path(str(best.dirpath))
        if candidate.name != BEST or chosen.blend.is_average:
            score = torch.tensor(candidate.metrics[monitor])
            best.best_model_score = score
            best.best_k_models[best.best_model_path] = score
            if is_first:
                replace_best(directory, best, chosen, task)
        if is_first:
            write_candidates(directory.parent / TABLE, measured, chosen, monitor)


def contest_loaders(trainer: Trainer) -> Loaders | str:
    """Return the loaders of validation and training images, or why nothing can compete."""
    val, train = trainer.val_dataloaders, trainer.train_dataloader
    if is_limited(trainer):
        return "the Trainer limits the batches of an epoch"
    if not isinstance(val, BatchLoader) or not isinstance(train, TrainingLoader):
        return "there are no training and validation images of an ImageDataModule"
    return val, train
