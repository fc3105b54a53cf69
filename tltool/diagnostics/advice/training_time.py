"""Time that training will take, from a few measured steps, and the epochs that a budget allows."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tltool.data.loading.image_dataset import collate
from tltool.diagnostics.phase_training import copy_in_phase, phase_optimizer, train_steps
from tltool.finetuning.freeze import HEAD
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
        epoch: For each epoch on images.
        start: Once, for what the frozen layers compute, where it is kept.
        epoch_behind: For each epoch that reads what is kept.
        num_read: With at most so many epochs, images are read all the same.
    """

    epoch: float
    start: float = 0.0
    epoch_behind: float = math.inf
    num_read: float = math.inf

    def seconds(self, epochs: int) -> float:
        """Return how long so many epochs take."""
        if epochs <= self.num_read:
            return epochs * self.epoch
        return self.start + epochs * self.epoch_behind

    def epochs_within(self, seconds: float) -> int:
        """Return how many epochs a budget has room for, from 1 to `MOST_EPOCHS`.

        Example:
            >>> TrainingTime(epoch=40).epochs_within(150)
            3
            >>> TrainingTime(epoch=40, start=60, epoch_behind=10, num_read=4).epochs_within(150)
            9
        """
        fitting = (n for n in range(1, MOST_EPOCHS + 1) if self.seconds(n) <= seconds)
        return max(fitting, default=1)


def measure_training_time(
    task: Any,
    data: "ImageDataModule",
    phase: Phase,
    *,
    find_front: Callable[[Any], nn.Module | None],
    views: int,
    devices: int,
) -> TrainingTime:
    """Time a few steps, and say how long training would take.

    Args:
        task: Has a ``backbone``, a ``head`` and ``configure_optimizers()``; it is left as it was.
        data: Its images.
        phase: What trains, resolved.
        find_front: Returns the frozen layers of a backbone whose output is kept, as it is in the
            phase; ``None`` where images are read in each epoch.
        views: Number of views of each training image that are kept. With no more epochs than these,
            images are read, unless the head trains alone.
        devices: Number of devices that share the images.
    """
    dataset = data.dataset("train", augment=True)
    start = time.perf_counter()
    batch = collate([dataset[index] for index in range(min(_IMAGES, len(dataset)))])
    images: Tensor = batch["images"]
    load = (time.perf_counter() - start) / len(images)
    trained = copy_in_phase(task, phase)
    front_layers = find_front(trained.backbone)

    def seconds_of(layers: nn.Module) -> float:
        with torch.inference_mode():
            passes = (layers(images.to(task.device)).sum().item() for _ in range(_STEPS + 1))
            return _seconds(passes) / len(images)

    with computing_old(trained):
        steps = train_steps(trained, phase_optimizer(trained, phase), [batch] * (_STEPS + 1))
        step = _seconds(steps) / len(images)
        forward = seconds_of(trained.backbone)
        front = 0.0 if front_layers is None else seconds_of(front_layers)
    num_train, num_val = len(dataset), len(data.samples("val"))
    read = num_train * (step + load) + num_val * (forward + load)
    if front_layers is None:
        return TrainingTime(read / devices)
    behind = num_train * max(step - front, 0) + num_val * max(forward - front, 0)
    return TrainingTime(
        read / devices,
        start=(num_train * views + num_val) * (front + load) / devices,
        epoch_behind=behind / devices,
        num_read=0 if set(phase.trains) == {HEAD} else views,
    )


def _seconds(steps: Any) -> float:
    """Return the seconds of one of some steps, the first left out."""
    next(steps)
    start = time.perf_counter()
    number = sum(1 for _ in islice(steps, _STEPS))
    return (time.perf_counter() - start) / number
