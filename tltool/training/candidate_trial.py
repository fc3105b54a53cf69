"""Measure candidate weights on the validation images, in a task that is put back afterwards."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tltool._module_state import restored_modes
from tltool.data.loading.batch_loader import BatchLoader, TrainingLoader
from tltool.evaluation.candidates import Candidate, Statistics
from tltool.evaluation.predictions import Predictions
from tltool.features.feature_loader import FeatureLoader
from tltool.models.weight_averaging import State
from tltool.training.distributed.rank_agreement import average_batch_norm_
from tltool.training.image_task import ImageTask
from tltool.training.val_predictions import PredictionCollector

STATISTICS_IMAGES = 2048
"""So many training images are enough for the running statistics of averaged weights."""


class CandidateTrial:
    """Put weights into a task, and measure them as its validation does.

    Batch norms normalize in evaluation by the mean and variance that layers in front of them had in
    training, and at averaged weights these are others (Izmailov et al., 2018,
    https://arxiv.org/abs/1803.05407, section 3.3). But a start has the statistics of the images
    that it was pretrained on, and near it averages of the statistics can be better than those of
    the training images. So where training has changed them, both may be measured: see
    `estimate_statistics_`. All ranks call everything alike, and get the same.

    Args:
        task: The task; `restored_task` puts it back.
        trainer: Says where and in which precision to compute.
        val: Loads the validation images; each is on one rank.
        train: Loads training images, for statistics; ``None`` if none will be estimated.
        changed: Names of the tensors that differ between the weights that will be measured.
    """

    def __init__(
        self,
        task: ImageTask,
        trainer: Trainer,
        val: BatchLoader,
        train: TrainingLoader | None,
        changed: Collection[str],
    ) -> None:
        self.task = task
        self.trainer = trainer
        self.val = val
        self.train = train
        self.changed = changed
        #: The batch norms whose running statistics differ, by name.
        self.norms = norms_of(task, changed)

    @torch.no_grad()
    def measure(
        self, name: str, weights: State, *, share: float | None, statistics: Statistics = "own"
    ) -> tuple[Candidate, dict[str, Tensor]]:
        """Return how good weights are, and running statistics that were estimated for them.

        Args:
            name: Of the candidate.
            weights: Those that differ between candidates.
            share: See `Candidate`.
            statistics: Whether they are ``estimated``, and not those among the weights.
        """
        load_tensors_(self.task, weights)
        estimated: dict[str, Tensor] = {}
        if statistics == "estimated" and self.train is not None:
            estimated = self._estimate(training_batches(self.train))
        return Candidate(name, share, *self._validate(), statistics), estimated

    def _estimate(self, batches: Iterable[dict[str, Any]]) -> dict[str, Tensor]:
        with self.trainer.precision_plugin.val_step_context():
            estimate_statistics_(self.task, self.norms.values(), map(self._moved, batches))
        average_batch_norm_(self.norms.values())
        state = self.task.state_dict()
        names = [f"{norm}.running_{kind}" for norm in self.norms for kind in ("mean", "var")]
        return {name: state[name].cpu().clone() for name in names}

    def _validate(self) -> tuple[dict[str, float], Predictions]:
        metrics = self.task.val_metrics
        metrics.reset()
        collector = PredictionCollector(self.val, self.task.device, self.task.prediction_kind)
        with restored_modes(self.task), self.trainer.precision_plugin.val_step_context():
            self.task.eval()
            for number, batch in enumerate(map(self._moved, self.val)):
                found = self.task.validation_step(batch, number)
                if "labels" in batch:  # Not in the share of a rank without an image.
                    (outputs,) = found.values()
                    collector.add(outputs, batch["labels"], number)
        measured = {key: value for key, value in metrics.compute().items() if value.ndim == 0}
        metrics.reset()
        values = {key: float(value) for key, value in measured.items()}
        return values, collector.gather(self.trainer)

    def _moved(self, batch: dict[str, Any]) -> Any:
        converted = self.trainer.precision_plugin.convert_input(batch)
        return self.trainer.strategy.batch_to_device(converted, self.task.device)


def norms_of(task: nn.Module, changed: Collection[str]) -> dict[str, _BatchNorm]:
    """Return the batch norms whose running statistics are among changed tensors, by name."""
    return {
        name: member
        for name, member in task.named_modules()
        if isinstance(member, _BatchNorm)
        and not {f"{name}.running_mean", f"{name}.running_var"}.isdisjoint(changed)
    }


def load_tensors_(module: nn.Module, tensors: State) -> nn.Module:
    """Copy some parameters and buffers into a module; return it."""
    state = module.state_dict()
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(tensor)
    return module


@contextmanager
def restored_task(
    task: ImageTask, loaders: Sequence[BatchLoader], changed: Collection[str]
) -> Iterator[None]:
    """Put a task back as it is now, bit for bit.

    What is cached of images was computed by frozen layers as they are now; where candidates have
    other ones, images are read.

    Args:
        task: The task.
        loaders: Its loaders, whose substitutes may not be right for all candidates.
        changed: Names of the tensors that will change.
    """
    state = task.state_dict()
    before = {name: state[name].clone() for name in changed}
    substitutes = [loader.substitute for loader in loaders]
    for loader in loaders:
        cached = loader.substitute
        if isinstance(cached, FeatureLoader) and _is_in_front(task, cached, changed):
            loader.substitute = None
    try:
        yield
    finally:
        load_tensors_(task, before)
        for loader, substitute in zip(loaders, substitutes, strict=True):
            loader.substitute = substitute


def _is_in_front(task: ImageTask, cached: FeatureLoader, changed: Collection[str]) -> bool:
    """Tell whether a changed tensor takes part in what is cached."""
    names = [n.removeprefix("backbone.") for n in changed if n.startswith("backbone.")]
    if cached.cut is None:
        return bool(names)
    frozen = {name for name, p in task.backbone.named_parameters() if not p.requires_grad}
    fronts = tuple(f"{module}." for module in cached.cut.skipped)
    return any(name in frozen or name.startswith(fronts) for name in names)


def training_batches(loader: TrainingLoader) -> Iterator[dict[str, Any]]:
    """Yield the batches of the first epoch, as far as they are needed for running statistics."""
    batches = loader.batch_sampler
    batches.sampler.set_epoch(0)
    batches.first = 0
    source: Any = loader.images if loader.substitute is None else loader.substitute
    size = batches.batch_size * batches.sampler.num_replicas
    for number, batch in enumerate(source):
        if number * size >= STATISTICS_IMAGES:
            return
        yield batch


@torch.no_grad()
def estimate_statistics_(
    task: ImageTask, norms: Collection[_BatchNorm], batches: Iterable[dict[str, Any]]
) -> ImageTask:
    """Estimate the running statistics of batch norms as the mean over some batches, in place.

    As ``torch.optim.swa_utils.update_bn`` does, but with all else in evaluation mode: without
    dropout the result is the same at each call.

    Args:
        task: The task.
        norms: Its batch norms.
        batches: Batches of training images, or of what is cached of them.

    Returns:
        ``task``.
    """
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    with restored_modes(task):
        task.eval()
        for norm in norms:
            norm.num_batches_tracked = torch.tensor(0, device=task.device)
            norm.reset_running_stats()
            norm.momentum = None  # The mean over all batches.
            norm.train()
        try:
            for batch in batches:
                task.logits(batch)
        finally:
            for norm, momentum, count in before:
                norm.momentum, norm.num_batches_tracked = momentum, count
    return task
