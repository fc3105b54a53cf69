"""Prediction of a datamodule's images in Lightning's loop, batch by batch."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.loading.batch_loader import BatchLoader
from tltool.training.callbacks.progress_lines import EpochBar
from tltool.training.image_task import ImageTask

Kept = TypeVar("Kept")


class _KeepBatches(Callback, Generic[Kept]):
    """Keep something of each batch; all probabilities of many classes would fill the memory."""

    def __init__(self, keep: Callable[[list[str], Tensor], Kept]) -> None:
        self.keep = keep
        self.kept: list[Kept] = []

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Keep what is needed of a batch."""
        self.kept.append(self.keep(outputs["paths"], output_numbers(outputs)))


def keep_batches(
    task: ImageTask,
    data: ImageDataModule,
    keep: Callable[[list[str], Tensor], Kept],
    split: SplitName | None = None,
    *,
    trainer: Trainer | None = None,
) -> list[Kept]:
    """Predict the images of a datamodule, and keep what is needed of each batch.

    Args:
        task: The task.
        data: The images.
        keep: Makes it from the paths and the probabilities ``(B, num_classes)`` of a batch.
        split: Which images; ``None`` for those that the datamodule is to predict.
        trainer: Runs it; ``None`` for one device without a logger.

    Raises:
        ValueError: If the trainer has several devices, which would tear the order apart.
    """
    trainer = trainer or single_device_trainer()
    if trainer.world_size > 1:
        raise ValueError(
            "Each process predicts on one device: leave out --trainer.devices and "
            "--trainer.num_nodes. For several devices, start a process for each: "
            f"`torchrun --standalone --nproc_per_node {trainer.num_devices} -m tltool predict "
            "...`, or srun."
        )
    where: dict[str, Any] = {"datamodule": data}
    if split is not None:
        # A `BatchLoader`, which can give features in the place of images.
        where = {"dataloaders": BatchLoader(data.evaluation_dataloader(split))}
    kept = _KeepBatches(keep)
    trainer.callbacks.append(kept)  # type: ignore[attr-defined]  # Trainer sets it
    try:
        trainer.predict(task, return_predictions=False, **where)
    finally:
        trainer.callbacks.remove(kept)  # type: ignore[attr-defined]
    return kept.kept


def output_numbers(outputs: Mapping[str, Any]) -> Tensor:
    """Return the probabilities of a batch ``(B, num_classes)``, or its numbers ``(B, 1)``."""
    numbers: Tensor = (
        outputs["values"][:, None] if "values" in outputs else outputs["probabilities"]
    )
    return numbers


def single_device_trainer() -> Trainer:
    """Return a trainer for one device that writes nothing."""
    return Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        devices=1,
        callbacks=[EpochBar()],
    )
