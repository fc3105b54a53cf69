"""Predictor: a checkpoint that predicts images, directories and splits, and is measured on them."""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, cast, overload

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.files.directory_listing import list_images
from tltool.data.files.image_sources import ImageSource, are_several, read_image
from tltool.data.files.value_range import check_value_range
from tltool.data.transforms.image_transform import ImageTransform
from tltool.data.transforms.normalization import resolve_value_range
from tltool.evaluation.per_class import ClassMetrics, class_metrics
from tltool.training.distributed.cluster_environment import evaluation_options
from tltool.training.image_task import ImageTask

log = logging.getLogger(__name__)

NIGHT = 16
"""An image without a pixel as bright as this is nearly black."""

_CAUSE = (
    "Its weights are too large: take an earlier checkpoint, or train with a lower learning rate."
)

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Prediction:
    """What an image shows.

    Attributes:
        label: The most probable class.
        probabilities: Probability of each class by name, the most probable first.
    """

    label: str
    probabilities: dict[str, float]


class PredictedImages(NamedTuple):
    """Probabilities of many images, in order.

    Attributes:
        paths: Where they lie.
        probabilities: ``(N, num_classes)``.
    """

    paths: list[str]
    probabilities: Tensor


class SplitMetrics(NamedTuple):
    """What is measured on a split, over all ranks.

    Attributes:
        values: Each metric by name.
        classes: The metrics of each class.
    """

    values: dict[str, float]
    classes: list[ClassMetrics]


class _KeepBatches(Callback, Generic[Kept]):
    """Keep something of each batch; all probabilities of many classes would fill the memory."""

    def __init__(self, keep: Callable[[list[str], Tensor], Kept]) -> None:
        self.keep = keep
        self.kept: list[Kept] = []

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Keep what is needed of a batch."""
        self.kept.append(self.keep(outputs["paths"], outputs["probabilities"]))


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

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too: one file wins
        self, images: ImageSource, *, batch_size: int = ...
    ) -> Prediction: ...
    @overload
    def predict(
        self, images: Sequence[ImageSource], *, batch_size: int = ...
    ) -> list[Prediction]: ...
    def predict(
        self, images: ImageSource | Sequence[ImageSource], *, batch_size: int = 32
    ) -> Prediction | list[Prediction]:
        """Predict the class of one image, or of several.

        Args:
            images: A file by its path, its bytes, or a stream of them; a Pillow image; pixels as an
                array ``(H, W, C)`` or a tensor ``(C, H, W)``, see `image_of_pixels`; or a sequence
                of them. All are prepared alike. For a directory, see `predict_folder`.
            batch_size: Number of images that pass through the network at once.

        Returns:
            One prediction for one image, a list for a sequence.

        Raises:
            ValueError: If a file cannot be decoded, or the network gives no numbers for it; the
                message names it.
        """
        if not are_several(images):
            return self._predict([cast(ImageSource, images)])[0]
        return [
            prediction
            for start in range(0, len(images), batch_size)
            for prediction in self._predict(images[start : start + batch_size])
        ]

    def predict_folder(self, folder: str | Path, *, batch_size: int = 32) -> dict[str, Prediction]:
        """Predict all images in a directory and below, by path."""
        paths = [str(path) for path in list_images(Path(folder))]
        return dict(zip(paths, self.predict(paths, batch_size=batch_size), strict=True))

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
        trainer = trainer or Trainer(
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            devices=1,
            **evaluation_options(),
        )
        if trainer.world_size > 1:
            raise ValueError(
                "Prediction runs on one device: leave out --trainer.devices and "
                "--trainer.num_nodes."
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
        confusion = self.task.confusion
        classes = [] if confusion is None else class_metrics(confusion, self.class_names)
        return SplitMetrics(dict(values), classes)

    @torch.inference_mode()
    def _predict(self, images: Sequence[ImageSource]) -> list[Prediction]:
        pixels = torch.stack([self._pixels(image) for image in images])
        batch = {"images": pixels.to(self.task.device), "paths": images}
        found = self.task.predict_step(batch, 0)["probabilities"]  # (B, num_classes)
        self._check_numbers(images, found)
        predictions = []
        for probabilities in found.tolist():
            named = zip(self.class_names, probabilities, strict=True)
            ranked = sorted(named, key=lambda pair: -pair[1])
            predictions.append(Prediction(ranked[0][0], dict(ranked)))
        return predictions

    def _pixels(self, image: ImageSource) -> Tensor:
        decoded = read_image(image, **self.transform.decode_options)
        brightest = np.ravel(decoded.getextrema()).max()
        if self.transform.value_range is None and 0 < brightest < NIGHT:
            _note_dark(image if isinstance(image, str | Path) else type(image).__name__)
        return self.transform(decoded)

    @property
    def _name(self) -> str:
        return "The network" if self.source is None else str(self.source)

    def _check_numbers(self, images: Sequence[ImageSource], probabilities: Tensor) -> None:
        """Refuse predictions that are none."""
        wrong = (~probabilities.isfinite().all(dim=1)).nonzero()[:, 0].tolist()
        if wrong:
            raise ValueError(
                f"{self._name} gives no numbers for {len(wrong)} of {len(images)} images, first "
                f"{images[wrong[0]]}. {_CAUSE}"
            )


@functools.cache
def _note_dark(name: str | Path) -> None:
    log.warning(
        "'%s' is nearly black: no pixel is above %d of 255. If its values need fewer bits than its "
        "type has, load the model with the range of all images: tltool.load(..., "
        "value_range=(0, 4095)).",
        *(name, NIGHT - 1),
    )


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
