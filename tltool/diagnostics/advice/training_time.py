"""Time that training will take, from a few measured steps, and the epochs that a budget allows."""

import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tltool.data.loading.image_dataset import collate
from tltool.diagnostics.phase_training import copy_in_phase, phase_optimizer, train_steps
from tltool.finetuning.phase import Phase
from tltool.surgery.calibration import computing_old

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule

MOST_EPOCHS = 30
"""A budget buys no more epochs than these: with a falling learning rate more bring little."""
_IMAGES = 16  # in a measured batch
_STEPS = 2  # The first one of them warms up.


@dataclass(frozen=True)
class TrainingTime:
    """Seconds that training takes.

    Attributes:
        start: Once, for what the frozen layers compute.
        epoch: For each epoch.
    """

    start: float
    epoch: float

    def epochs_within(self, seconds: float) -> int:
        """Return how many epochs a budget has room for, from 1 to `MOST_EPOCHS`.

        Example:
            >>> TrainingTime(start=60, epoch=20).epochs_within(150)
            4
        """
        return min(max(int((seconds - self.start) / self.epoch), 1), MOST_EPOCHS)


def measure_training_time(
    task: Any, data: "ImageDataModule", phase: Phase, *, front: float, views: int, devices: int
) -> TrainingTime:
    """Time a few steps, and say how long training would take.

    Args:
        task: Has a ``backbone``, a ``head`` and ``configure_optimizers()``; it is left as it was.
        data: Its images.
        phase: What trains, resolved.
        front: Share of a forward pass that frozen layers take whose output is kept; 0 where images
            are read in each epoch.
        views: Number of views of each training image that are kept.
        devices: Number of devices that share the images.
    """
    dataset = data.dataset("train", augment=True)
    start = time.perf_counter()
    batch = collate([dataset[index] for index in range(min(_IMAGES, len(dataset)))])
    images: Tensor = batch["images"]
    load = (time.perf_counter() - start) / len(images)
    trained = copy_in_phase(task, phase)
    with computing_old(trained):
        steps = train_steps(trained, phase_optimizer(trained, phase), [batch] * (_STEPS + 1))
        step = _seconds(steps)
    with torch.inference_mode(), computing_old(trained):
        passes = (trained.backbone(images.to(task.device)).sum().item() for _ in range(_STEPS + 1))
        forward = _seconds(passes)
    num_train, num_val = len(dataset), len(data.samples("val"))
    # Of one image; where the front is kept, it is passed once, with the images.
    step, forward = step / len(images), forward / len(images)
    kept = (num_train * views + num_val) * (front * forward + load) if front else 0.0
    read = 0.0 if front else load
    epoch = num_train * (step - front * forward + read)
    epoch += num_val * ((1 - front) * forward + read)
    return TrainingTime(kept / devices, max(epoch, 1e-3) / devices)


def _seconds(steps: Any) -> float:
    """Return the seconds of one of some steps, the first left out."""
    next(steps)
    start = time.perf_counter()
    number = sum(1 for _ in islice(steps, _STEPS))
    return (time.perf_counter() - start) / number
