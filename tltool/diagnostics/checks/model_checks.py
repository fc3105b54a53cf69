"""Checks of a model before a long run, on copies: start, trial steps, memory, checkpoint."""

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tltool.data.files.decoding_threads import map_in_threads
from tltool.data.loading.image_dataset import collate
from tltool.diagnostics.advice.subsample import draw_stratified
from tltool.diagnostics.checks import overfitting, starting_signal, step_memory, trial_steps
from tltool.diagnostics.checks.batch_norm_gap import batch_norm_agrees, batch_norm_gap
from tltool.diagnostics.checks.check_result import CheckResult
from tltool.diagnostics.checks.checkpoint_round_trip import round_trip
from tltool.diagnostics.checks.edited_layers import edited_layers_train
from tltool.diagnostics.checks.optimizer_groups import optimizer_groups
from tltool.diagnostics.checks.preprocessing_agreement import preprocessing_agrees
from tltool.diagnostics.checks.starting_loss import starting_loss
from tltool.diagnostics.phase_training import copy_in_phase
from tltool.features.extraction import frozen_pass
from tltool.finetuning.phase import KEEPS_STATISTICS
from tltool.finetuning.plan import bytes_per_parameter, trained_by
from tltool.finetuning.schedule import Schedule
from tltool.layers.fitted_norms import FittedNorm
from tltool.models.layer_groups import layer_groups

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule

#: Images that pass through the frozen backbone: activations and the loss are means over them.
NUM_FEATURES = 128
NUM_NORM = 32
#: Images in a trial step, where a batch is larger.
NUM_TRIED = 8
HEAD_IMAGES = 16


class ModelChecks:
    """The checks of a task, and the images and features that they share.

    Args:
        task: An ``ImageTask``, on its device. A copy of it is checked, its input norm fitted to
            some images.
        data: Images that can be decoded.
        schedule: Resolved.
    """

    def __init__(self, task: Any, data: "ImageDataModule", schedule: Schedule) -> None:
        self.task, self.data, self.schedule = copy.deepcopy(task).eval(), data, schedule
        train = data.samples("train")
        share = min(NUM_FEATURES / len(train), 1.0)
        labels = torch.tensor(train.labels)
        chosen = draw_stratified(labels, share, torch.Generator().manual_seed(0)).tolist()
        read = data.dataset("train").__getitem__
        batch = collate(list(map_in_threads(read, chosen, description="images")))
        # Mixed, as all images of a class in a row would make batches of one class.
        order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))
        self.images: Tensor = batch["images"][order].to(self.task.device)
        self.labels: Tensor = batch["labels"][order].to(self.task.device)
        with frozen_pass(self.task.backbone) as features_of:
            features = [features_of(images) for images in self.images.split(NUM_NORM)]
        self.features = torch.cat(features).float().to(self.task.device)
        norm = getattr(self.task.head, "input_norm", None)
        if isinstance(norm, FittedNorm) and not norm.is_fitted:
            norm.fit_(self.features)
        #: Of the head's initializer and of others, the head's own first.
        self.signals = starting_signal.starting_signals(self.task.head, self.features)

    def before_training(self, *, log_prior: bool) -> Iterator[CheckResult]:
        """Yield the checks that need no training step."""
        task, backbone = self.task, self.task.backbone
        used, own = self.data.resolved_data_config(), backbone.data_config
        chosen = ("crop_mode", "crop_pct") if self.data.crop_mode else ()
        yield preprocessing_agrees(used, own, self.images, weights=backbone.weights, chosen=chosen)
        counts = self.data.drawn_class_counts if log_prior else None
        with torch.no_grad():
            logits = task.head(self.features)
        yield starting_loss(
            logits,
            self.labels,
            task.training_loss,
            class_counts=counts,
            objective=self.data.objective,
        )
        yield starting_signal.starting_signal_is_sound(self.signals)
        trains = any(
            phase.batch_norm not in KEEPS_STATISTICS
            and any(group != "head" for group in phase.groups)
            for phase in self.schedule.phases
        )
        images = self.images[:NUM_NORM]
        yield batch_norm_agrees(batch_norm_gap(backbone, images), len(images), trains=trains)
        yield from edited_layers_train(task, self.schedule)

    def in_trial_steps(self) -> Iterator[CheckResult]:
        """Yield the checks that train for a few steps of each phase."""
        task, phases = self.task, self.schedule.phases
        groups = layer_groups(task)
        trained = set().union(*(trained_by(phase, task, groups) for phase in phases))
        yield optimizer_groups(task, task.configure_optimizers(), trained)
        smaller = copy.copy(self.data)  # Batches as training gets them: augmented and mixed.
        smaller.batch_size = min(smaller.batch_size, NUM_TRIED, len(smaller.samples("train")))
        endless = itertools.cycle(smaller.train_dataloader())
        batches = [*itertools.islice(endless, trial_steps.NUM_STEPS)]
        trials = [trial_steps.try_steps(task, phase, batches) for phase in phases]
        shapes = {name: parameter.shape for name, parameter in task.named_parameters()}
        yield trial_steps.gradient_reaches(trials, shapes)
        yield trial_steps.weights_move(trials)
        yield trial_steps.frozen_stay(trials)
        yield self._one_batch()

    def memory(self, *, batch_per_device: int, available: int, remedy: str) -> CheckResult:
        """Check the memory of the phase that needs the most.

        Args:
            batch_per_device: Number of images in a step of each device.
            available: Bytes that the device has.
            remedy: What to type where they do not suffice.
        """
        images, labels = self.images[:NUM_TRIED], self.labels[:NUM_TRIED]
        bytes_each = bytes_per_parameter(self.task.make_optimizer)
        scale, needs = batch_per_device / len(images), {}
        for phase in self.schedule.phases:
            task = copy_in_phase(self.task, phase)
            needs[phase.name] = step_memory.step_memory(
                task,
                lambda task=task: task.training_loss(task(images), labels),  # type: ignore[misc]
                bytes_per_trained=bytes_each,
                scale=scale,
            )
        name = max(needs, key=lambda phase: needs[phase].total)
        batch = f"{batch_per_device} images on each device in float32 (phase {name})"
        return step_memory.memory_suffices(needs[name], available, batch=batch, remedy=remedy)

    def checkpoint(self, reload: Callable[[Any], tuple[nn.Module, int]]) -> CheckResult:
        """Check that a loaded checkpoint gives the same logits.

        Args:
            reload: Writes a checkpoint of a copy of the task; returns the task that was loaded from
                it, on the same device and in evaluation mode, and the size of the file in bytes.
        """
        loaded, num_bytes = reload(copy.deepcopy(self.task))
        images = self.images[:NUM_TRIED]
        with torch.no_grad():
            return round_trip(self.task(images), loaded(images), num_bytes=num_bytes)

    def _one_batch(self) -> CheckResult:
        first = self.schedule.phases[0]
        task = copy_in_phase(self.task, first)
        on_features = first.groups == ("head",)
        if on_features:
            learner, inputs, limits = task.head, self.features[:HEAD_IMAGES], overfitting.HEAD
        else:
            learner, inputs, limits = task, self.images[:NUM_TRIED], overfitting.NETWORK
        labels = self.task.standardized(self.labels[: len(inputs)])
        objective = self.data.objective
        fit = overfitting.overfit_one_batch(learner, inputs, labels, limits, objective)
        return overfitting.overfits_one_batch(fit, len(labels), on_features=on_features)
