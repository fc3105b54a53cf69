"""What `tltool doctor` sees in the network and in its first steps, all on copies."""

import copy
import itertools
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from tltool.data.datamodule import ImageDataModule
from tltool.data.dataset import collate
from tltool.data.threads import map_in_threads
from tltool.diagnosis.batch_norm_gap import batch_norm_agrees, batch_norm_gap
from tltool.diagnosis.finding import Finding
from tltool.diagnosis.learning_curve import draw_stratified
from tltool.diagnosis.optimizer_groups import optimizer_groups
from tltool.diagnosis.overfitting import HEAD_RATES, NETWORK_RATES, learns_by_heart, overfit
from tltool.diagnosis.preprocessing import preprocessing_agrees
from tltool.diagnosis.round_trip import round_trip
from tltool.diagnosis.starting_loss import starting_loss
from tltool.diagnosis.starting_signal import (
    StartingSignal,
    starting_signal_is_sound,
    starting_signals,
)
from tltool.diagnosis.step_memory import memory_suffices, step_memory
from tltool.diagnosis.trial_steps import (
    NUM_STEPS,
    frozen_stay,
    gradient_reaches,
    try_steps,
    weights_move,
)
from tltool.features.extract import frozen_pass
from tltool.finetuning.freeze import set_trainable_
from tltool.finetuning.groups import layer_groups
from tltool.finetuning.phase import Phase
from tltool.finetuning.plan import bytes_per_parameter, trained_by
from tltool.finetuning.schedule import Schedule
from tltool.layers.fitted_norms import FittedNorm
from tltool.tasks.image_task import ImageTask

NUM_FEATURES = 128
"""Photos that pass through the frozen backbone: activations and the loss are means over them."""
NUM_NORM = 32
NUM_TRIED = 8
"""Photos in a step of the doctor, where a batch is larger."""
HEART_PHOTOS, HEART_STEPS = 16, 200
NETWORK_STEPS, NETWORK_SECONDS = 60, 20.0


@dataclass
class Exam:
    """A copy of the task, with what the checks share.

    Args:
        task: The task; a copy of it is examined, its input norm fitted to some photos.
        data: Photos that can be decoded.
        schedule: Resolved.
    """

    task: ImageTask
    data: ImageDataModule
    schedule: Schedule

    def __post_init__(self) -> None:
        self.task = copy.deepcopy(self.task).eval()
        train = self.data.samples("train")
        share = min(NUM_FEATURES / len(train), 1.0)
        labels = torch.tensor(train.labels)
        chosen = draw_stratified(labels, share, torch.Generator().manual_seed(0)).tolist()
        photos = self.data.dataset("train")
        items = map_in_threads(photos.__getitem__, chosen, description="photos")
        batch = collate(list(items))
        # Mixed, as all photos of a class in a row would make batches of one class.
        order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))
        self.images: Tensor = batch["images"][order].to(self.task.device)
        self.labels: Tensor = batch["labels"][order].to(self.task.device)
        with frozen_pass(self.task.backbone) as features_of:
            features = [features_of(images) for images in self.images.split(NUM_NORM)]
        self.features = torch.cat(features).float().to(self.task.device)
        norm = getattr(self.task.head, "input_norm", None)
        if isinstance(norm, FittedNorm) and not norm.is_fitted:
            norm.fit_(self.features)

    def at_the_start(self, *, log_prior: bool) -> Iterable[Finding]:
        """Yield what is seen without a step."""
        task, backbone = self.task, self.task.backbone
        config = self.data.resolved_data_config()
        yield preprocessing_agrees(
            config, backbone.data_config, self.images, weights=backbone.weights
        )
        counts = self.data.train_class_counts if log_prior else None
        with torch.no_grad():
            logits = task.head(self.features)
        yield starting_loss(logits, self.labels, task.training_loss, class_counts=counts)
        self.signals: list[StartingSignal] = starting_signals(task.head, self.features)
        yield starting_signal_is_sound(self.signals)
        trains = any(
            phase.batch_norm != "frozen" and any(group != "head" for group in phase.groups)
            for phase in self.schedule.phases
        )
        images = self.images[:NUM_NORM]
        yield batch_norm_agrees(batch_norm_gap(backbone, images), len(images), trains=trains)

    def in_steps(self) -> Iterable[Finding]:
        """Yield what is seen in a few steps of each phase."""
        task, phases = self.task, self.schedule.phases
        groups = layer_groups(task)
        trained = set().union(*(trained_by(phase, task, groups) for phase in phases))
        optimizer = task.configure_optimizers()
        yield optimizer_groups(task, optimizer, trained)
        batches = self._train_batches()
        trials = [try_steps(task, phase, batches) for phase in phases]
        yield gradient_reaches(trials, {name: p.shape for name, p in task.named_parameters()})
        highest = max(group["lr"] for group in optimizer.param_groups)
        rates = {p.name: highest * max(map(p.group_lr_scale, p.groups)) for p in phases}
        yield weights_move(trials, rates)
        yield frozen_stay(trials)
        yield self._by_heart()

    def memory(self, *, share: int, available: int, remedy: str) -> Finding:
        """Return what the phase that needs the most memory needs."""
        images, labels = self.images[:NUM_TRIED], self.labels[:NUM_TRIED]
        bytes_each = bytes_per_parameter(self.task.make_optimizer)
        needs = []
        for phase in self.schedule.phases:
            task = self._in(phase)
            found = step_memory(
                task,
                lambda task=task: task.training_loss(task(images), labels),  # type: ignore[misc]
                bytes_per_trained=bytes_each,
                scale=share / len(images),
            )
            needs.append((found.total, found, phase.name))
        _, most, name = max(needs, key=lambda need: need[0])
        batch = f"{share} photos on each device in float32 (phase {name})"
        return memory_suffices(most, available, batch=batch, remedy=remedy)

    def checkpoint(self, trainer: Trainer) -> Finding:
        """Write a checkpoint into a folder that is deleted, load it, and compare."""
        task, images = copy.deepcopy(self.task), self.images[:NUM_TRIED]
        trainer.strategy.connect(task)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "doctor.ckpt"
            trainer.save_checkpoint(file)
            loaded = ImageTask.load_from_checkpoint(file).to(task.device)
            size = file.stat().st_size
        with torch.no_grad():
            return round_trip(task(images), loaded(images), num_bytes=size)

    def _train_batches(self) -> list[dict[str, Any]]:
        """Return batches as training gets them: shuffled, augmented and mixed."""
        smaller = copy.copy(self.data)
        train = self.data.samples("train")
        smaller.batch_size = min(self.data.batch_size, NUM_TRIED, len(train))
        batches = list(itertools.islice(smaller.train_dataloader(), NUM_STEPS))
        return list(itertools.islice(itertools.cycle(batches), NUM_STEPS))

    def _in(self, phase: Phase) -> ImageTask:
        """Return a copy of the task in which a phase trains."""
        task = copy.deepcopy(self.task)
        kinds = {group: phase.group_parameters(group) for group in phase.groups}
        return set_trainable_(task, layer_groups(task), kinds, batch_norm=phase.batch_norm)

    def _by_heart(self) -> Finding:
        first = self.schedule.phases[0]
        task, num_classes = self._in(first), len(self.task.class_names)
        if first.groups == ("head",):
            labels = self.labels[:HEART_PHOTOS]
            found = overfit(
                task.head,
                self.features[:HEART_PHOTOS],
                labels,
                num_classes,
                rates=HEAD_RATES,
                num_steps=HEART_STEPS,
            )
            return learns_by_heart(found, len(labels), on_features=True)
        labels = self.labels[:NUM_TRIED]
        found = overfit(
            task,
            self.images[:NUM_TRIED],
            labels,
            num_classes,
            rates=NETWORK_RATES,
            num_steps=NETWORK_STEPS,
            seconds=NETWORK_SECONDS,
        )
        return learns_by_heart(found, len(labels), on_features=False)


def device_memory(device: torch.device) -> int:
    """Return how many bytes a device has."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def num_failed(findings: Sequence[Finding]) -> int:
    """Return how many checks failed."""
    return sum(finding.status == "failed" for finding in findings)
