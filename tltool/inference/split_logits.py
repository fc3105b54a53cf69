"""Logits of a split of a datamodule, batch by batch, in the precision of a training."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tltool._progress import with_progress
from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.features.extraction import AUTOCAST
from tltool.training.image_task import ImageTask

_AT_ONCE = 1000  # Images whose logits are computed together, where their features are known.


def logit_batches(
    task: ImageTask,
    data: ImageDataModule,
    split: SplitName,
    *,
    precision: str = "32-true",
    features: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits ``(B, num_classes)`` and labels ``(B,)`` of each batch of a split, on the CPU.

    Args:
        task: On its device; it is put into evaluation mode.
        data: Its images.
        split: Which of them.
        precision: As in Lightning's Trainer.
        features: Of the images in order, ``(N, num_features)``, where they are known; ``None`` to
            pass the images through the network.
    """
    task.eval()
    if features is not None:
        yield from _logits_of(task, features, torch.tensor(data.samples(split).labels))
        return
    device, autocast = task.device, AUTOCAST.get(precision)
    loader = data.evaluation_dataloader(split)
    for batch in with_progress(loader, f"{split} images", total=len(loader)):
        images = batch["images"].to(device, next(task.parameters()).dtype)
        with (
            torch.inference_mode(),
            torch.autocast(device.type, autocast, enabled=autocast is not None),
        ):
            logits = task(images).float().cpu()
        yield logits, batch["labels"]


def _logits_of(
    task: ImageTask, features: Tensor, labels: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    for rows, expected in zip(
        *(torch.split(each, _AT_ONCE) for each in (features, labels)), strict=True
    ):
        with torch.inference_mode():
            logits = task.logits({"features": rows.to(task.device).float()}).float().cpu()
        yield logits, expected
