"""Logits of a split of a datamodule, batch by batch, in the precision of a training."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tltool._progress import with_progress
from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.features.extraction import AUTOCAST
from tltool.training.image_task import ImageTask


def logit_batches(
    task: ImageTask, data: ImageDataModule, split: SplitName, *, precision: str = "32-true"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits ``(B, num_classes)`` and labels ``(B,)`` of each batch of a split, on the CPU.

    Args:
        task: On its device; it is put into evaluation mode.
        data: Its images.
        split: Which of them.
        precision: As in Lightning's Trainer.
    """
    task.eval()
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
