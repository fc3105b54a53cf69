"""Calibration of a checkpoint on the images that validate: a temperature, kept in the file."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.evaluation.paired_differences import number_groups
from tltool.evaluation.rejection import rejection_curve
from tltool.evaluation.temperature import LEAST_IMAGES, TemperatureFit, choose_temperature
from tltool.inference.split_logits import logit_batches
from tltool.training.calibration import CALIBRATION, Calibration
from tltool.training.checkpoint_io import AtomicCheckpointIO, read_checkpoint
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import image_marks

_SPLIT: SplitName = "val"
_MOST_VALUES = 50_000_000  # Of logits that are held at once: 200 MB.


def can_calibrate(data: ImageDataModule) -> bool:
    """Return whether there are enough images to fit a temperature: those that validate."""
    val = data.splits.val
    return val is not None and len(val) >= LEAST_IMAGES


def calibrate_checkpoint(
    path: str | Path,
    data: ImageDataModule,
    *,
    device: str | torch.device = "cpu",
    precision: str = "32-true",
    features: Tensor | None = None,
) -> TemperatureFit:
    """Fit the temperature of a checkpoint on the validation images, and keep it in the file.

    These are the images that choose the best epoch: a tuning split where there is one, never the
    test images. Whatever loads the checkpoint predicts with it; it is replaced whole or not at all.

    Args:
        path: The checkpoint.
        data: The images of its run.
        device: Where to compute.
        precision: As in Lightning's Trainer.
        features: Those of the validation images in order, ``(N, num_features)``, where they are
            known; ``None`` to pass the images through the network.

    Raises:
        ValueError: If the images are too few, see `can_calibrate`.
    """
    task = ImageTask.load_from_checkpoint(path).to(device)
    batches = logit_batches(task, data, _SPLIT, precision=precision, features=features)
    samples = data.samples(_SPLIT)
    step = -(-len(samples) * len(task.class_names) // _MOST_VALUES)
    logits, labels = _every(batches, step)
    groups = number_groups(samples.groups)
    fit = choose_temperature(logits, labels, groups and groups[::step])
    checkpoint = read_checkpoint(path)
    confidence, predicted = (logits / fit.temperature).softmax(dim=1).max(dim=1)
    calibration = Calibration(
        temperature=fit.temperature,
        split=_SPLIT,
        num_images=fit.num_images,
        error_before=fit.error_before,
        error_after=fit.error_after,
        curve=rejection_curve(confidence, predicted == labels),
        images=frozenset(image_marks(samples).tolist()),
    )
    checkpoint[CALIBRATION] = calibration.state_dict()
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return fit


def _every(batches: Iterable[tuple[Tensor, Tensor]], step: int) -> tuple[Tensor, Tensor]:
    """Return every ``step``-th image of all batches; all logits of many classes need much room."""
    kept, seen = [], 0
    for logits, labels in batches:
        first = -seen % step
        kept.append((logits[first::step], labels[first::step]))
        seen += len(labels)
    rows, marks = zip(*kept, strict=True)
    return torch.cat(rows), torch.cat(marks)
