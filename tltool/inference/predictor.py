"""Predictor: a checkpoint that predicts images, directories and splits, and is measured on them."""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, cast, overload

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tltool._objective import Objective
from tltool._plain_text import pixel_size
from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.files.directory_listing import check_folder, list_images
from tltool.data.files.folder_layout import describe_files
from tltool.data.files.image_sources import ImageSource, are_several, describe_source
from tltool.data.files.value_range import check_value_range
from tltool.data.transforms.image_transform import ImageTransform
from tltool.data.transforms.normalization import resolve_value_range
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.per_class import class_metrics
from tltool.inference.prediction import (
    PredictedImages,
    Prediction,
    SplitMetrics,
    make_prediction,
)
from tltool.inference.source_pixels import source_path, source_pixels
from tltool.training.image_task import ImageTask

_CAUSE = (
    "Its weights are too large: take an earlier checkpoint, or train with a lower learning rate."
)

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
        self.kept.append(self.keep(outputs["paths"], _numbers(outputs)))


class Predictor:
    """A trained task with its preprocessing.

    Args:
        task: The task; it is put into evaluation mode.
        value_range: The pixel values of black and of white, see `ImageDataModule`; ``None`` for
            those of the training.
        source: The checkpoint that it comes from, for messages.
    """

    def __init__(
        self,
        task: ImageTask,
        *,
        value_range: Sequence[float] | None = None,
        source: str | Path | None = None,
    ) -> None:
        self.task = task.eval()
        self.source = source
        given = None if value_range is None else check_value_range(value_range)
        self.transform = ImageTransform(resolve_value_range(task.data_config, given))

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the probabilities."""
        return self.task.class_names

    @property
    def objective(self) -> Objective:
        """What is predicted: one class for each image, several, or a number."""
        return self.task.objective

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.task.device

    def to(self, device: str | torch.device) -> Self:
        """Move the network to a device, such as ``cuda``; images follow by themselves."""
        self.task.to(device)
        return self

    def __repr__(self) -> str:
        names = self.class_names
        few = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        source = "" if self.source is None else f"{os.fspath(self.source)!r}, "
        size = pixel_size(self.task.data_config["input_size"])
        return (
            f"Predictor({source}{self.task.backbone.name}, {size} px, {len(names)} classes ({few}),"
            f" on {self.device})"
        )

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is iterable too: one file wins
        self, images: ImageSource, *, batch_size: int = ...
    ) -> Prediction: ...
    @overload
    def predict(
        self, images: Iterable[ImageSource], *, batch_size: int = ...
    ) -> list[Prediction]: ...
    def predict(
        self, images: ImageSource | Iterable[ImageSource], *, batch_size: int = 32
    ) -> Prediction | list[Prediction]:
        """Predict the class of one image, or of several.

        Args:
            images: A file by its path, its bytes, or a stream of them; a Pillow image; pixels as an
                array ``(H, W, C)`` or a tensor ``(C, H, W)``, see `image_of_pixels`; or several of
                them: a list, a generator, an array of 4 dimensions, a directory with all images
                in it and below. All are prepared alike.
            batch_size: Number of images that pass through the network at once.

        Returns:
            One prediction for one image; a list for several, also of a directory.

        Raises:
            ValueError: If a file cannot be decoded, or the network gives no numbers for it; the
                message or a note to it names the image.
            FileNotFoundError: If a directory has no images.
        """
        if isinstance(images, str | os.PathLike) and os.path.isdir(images):
            return list(self.predict_folder(images, batch_size=batch_size).values())
        if not are_several(images):
            return self._predict([cast(ImageSource, images)])[0]
        return list(self.predict_each(images, batch_size=batch_size))

    def predict_each(
        self, images: Iterable[ImageSource], *, batch_size: int = 32
    ) -> Iterator[Prediction]:
        """Yield the prediction of each image as soon as its batch is done, of an endless stream.

        Args:
            images: See `predict`; they are drawn from one batch at a time.
            batch_size: See `predict`.
        """
        start = 0
        for batch in _batches(images, batch_size):
            yield from self._predict(batch, first=start)
            start += len(batch)

    def predict_folder(self, folder: str | Path, *, batch_size: int = 32) -> dict[str, Prediction]:
        """Predict all images in a directory and below, by path."""
        check_folder(Path(folder), option="the folder")
        paths = [str(path) for path in list_images(Path(folder))]
        if not paths:
            raise FileNotFoundError(f"'{folder}' has no images. {describe_files(Path(folder))}")
        return dict(zip(paths, self.predict_each(paths, batch_size=batch_size), strict=True))

    @torch.inference_mode()
    def logits(self, images: Iterable[ImageSource], *, batch_size: int = 32) -> Tensor:
        """Return the logits of images ``(N, num_classes)``, on the CPU, as the head gives them.

        Args:
            images: See `predict`; several of them.
            batch_size: See `predict`.
        """
        found = []
        for number, batch in enumerate(_batches(images, batch_size)):
            pixels = source_pixels(batch, self.transform, first=number * batch_size)
            found.append(self.task(pixels.to(self.device)).float().cpu())
        return torch.cat([torch.empty(0, len(self.class_names)), *found])

    def predict_data(
        self,
        data: ImageDataModule,
        split: SplitName | None = None,
        *,
        trainer: Trainer | None = None,
    ) -> PredictedImages:
        """Predict the images of a datamodule, in order.

        Args:
            data: The images.
            split: Which of them; ``None`` for those that the datamodule is to predict.
            trainer: Runs it; ``None`` for one device without a logger.

        Raises:
            ValueError: If the trainer has several devices, which would tear the order apart, or the
                network gives no numbers for an image.
        """
        batches = self.predict_batches(data, lambda *batch: batch, split, trainer=trainer)
        probabilities = [torch.empty(0, len(self.class_names)), *(each for _, each in batches)]
        return PredictedImages([p for paths, _ in batches for p in paths], torch.cat(probabilities))

    def predict_batches(
        self,
        data: ImageDataModule,
        keep: Callable[[list[str], Tensor], Kept],
        split: SplitName | None = None,
        *,
        trainer: Trainer | None = None,
    ) -> list[Kept]:
        """Predict the images of a datamodule batch by batch, and keep what is needed of each.

        Args:
            data: The images.
            keep: Makes it from the paths and the probabilities ``(B, num_classes)`` of a batch.
            split: See `predict_data`.
            trainer: See `predict_data`.
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
            where = {"dataloaders": data.evaluation_dataloader(split)}

        def keep_numbers(paths: list[str], probabilities: Tensor) -> Kept:
            self._check_numbers(paths, probabilities)
            return keep(paths, probabilities)

        kept = _KeepBatches(keep_numbers)
        trainer.callbacks.append(kept)  # type: ignore[attr-defined]  # Trainer sets it
        try:
            trainer.predict(self.task, return_predictions=False, **where)
        finally:
            trainer.callbacks.remove(kept)  # type: ignore[attr-defined]
        return kept.kept

    def measure(self, data: ImageDataModule, split: SplitName, *, trainer: Trainer) -> SplitMetrics:
        """Measure the task on the validation or the test split, on all devices of the trainer.

        Raises:
            ValueError: If the network gives no numbers for the images.
        """
        run = trainer.validate if split == "val" else trainer.test
        (values,) = run(self.task, datamodule=data, verbose=False)
        loss = values[f"{split}/loss"]
        if not math.isfinite(loss):
            raise ValueError(f"{self._name} gives no numbers: its {split}/loss is {loss}. {_CAUSE}")
        confusion, outcomes = self.task.confusion, self.task.outcomes
        if outcomes is not None:
            return self._measured_labels(split, dict(values), outcomes)
        classes = [] if confusion is None else class_metrics(confusion, self.class_names)
        return SplitMetrics(dict(values), classes)

    def _measured_labels(
        self, split: SplitName, values: dict[str, float], outcomes: Tensor
    ) -> SplitMetrics:
        """Return the metrics of several classes for each image, see `LabelOutcomes`."""
        probabilities, targets = outcomes.unbind(dim=2)
        found = MultiLabelPredictions.of(probabilities, targets, self.task.thresholds)
        if self.task.thresholds is not None:  # The metrics of training are at one of .5.
            values[f"{split}/f1_macro_at_thresholds"] = found.macro_f1
            values[f"{split}/exact_match_at_thresholds"] = float(found.exact.double().mean())
        return SplitMetrics(values, found.classes(self.class_names))

    @torch.inference_mode()
    def _predict(self, images: Sequence[ImageSource], first: int = 0) -> list[Prediction]:
        pixels = source_pixels(images, self.transform, first=first)
        batch = {"images": pixels.to(self.device), "paths": images}
        found = _numbers(self.task.predict_step(batch, 0))  # (B, num_classes)
        self._check_numbers(images, found)
        kind, names = self.task.prediction_kind, self.class_names
        return [
            make_prediction(output, names, kind, source_path(image))
            for image, output in zip(images, found, strict=True)
        ]

    @property
    def _name(self) -> str:
        return "The network" if self.source is None else str(self.source)

    def _check_numbers(self, images: Sequence[ImageSource], probabilities: Tensor) -> None:
        """Refuse predictions that are none."""
        wrong = (~probabilities.isfinite().all(dim=1)).nonzero()[:, 0].tolist()
        if wrong:
            raise ValueError(
                f"{self._name} gives no numbers for {len(wrong)} of {len(images)} images, first "
                f"{describe_source(images[wrong[0]])}. {_CAUSE}"
            )


def _numbers(outputs: Mapping[str, Any]) -> Tensor:
    """Return the probabilities of a batch ``(B, num_classes)``, or its numbers ``(B, 1)``."""
    numbers: Tensor = (
        outputs["values"][:, None] if "values" in outputs else outputs["probabilities"]
    )
    return numbers


def _batches(images: Iterable[ImageSource], size: int) -> Iterator[list[ImageSource]]:
    if size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {size}.")
    left = iter(images)
    while batch := list(itertools.islice(left, size)):
        yield batch


def single_device_trainer() -> Trainer:
    """Return a trainer for one device that writes nothing."""
    return Trainer(logger=False, enable_checkpointing=False, enable_model_summary=False, devices=1)


def load(checkpoint_path: str | Path, *, value_range: Sequence[float] | None = None) -> Predictor:
    """Load a checkpoint for prediction. It alone is enough: no configuration, no download.

    Args:
        checkpoint_path: The file.
        value_range: The pixel values of black and of white, where the model was trained without
            them, and the images are of more bits than those that it knows.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint of tltool, or its weights are no numbers.

    Example:
        >>> load("no/such.ckpt")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no checkpoint 'no/such.ckpt'. ...
    """
    task = ImageTask.load_from_checkpoint(checkpoint_path)
    return Predictor(task, value_range=value_range, source=checkpoint_path)
