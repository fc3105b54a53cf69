"""Predictor: a checkpoint that predicts images, directories and splits, and is measured on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.files.decoding import decode_image
from tltool.data.files.directory_listing import list_images
from tltool.data.transforms.image_transform import ImageTransform
from tltool.evaluation.per_class import ClassMetrics, class_metrics
from tltool.training.image_task import ImageTask

ImageInput = str | Path | Image.Image
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
    """

    def __init__(self, task: ImageTask) -> None:
        self.task = task.eval()
        self.transform = ImageTransform(task.data_config)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the probabilities."""
        return self.task.class_names

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too: one file wins
        self, images: ImageInput, *, batch_size: int = ...
    ) -> Prediction: ...
    @overload
    def predict(
        self, images: Sequence[ImageInput], *, batch_size: int = ...
    ) -> list[Prediction]: ...
    def predict(
        self, images: ImageInput | Sequence[ImageInput], *, batch_size: int = 32
    ) -> Prediction | list[Prediction]:
        """Predict the class of one image, or of several.

        Args:
            images: A file, a Pillow image, or a sequence of them. For a directory, see
                `predict_folder`.
            batch_size: Number of images that pass through the network at once.

        Returns:
            One prediction for one image, a list for a sequence.

        Raises:
            ValueError: If a file cannot be decoded; the message names it.
        """
        if isinstance(images, str | Path | Image.Image):
            return self._predict([images])[0]
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
            ValueError: If the trainer has several devices, which would tear the order apart.
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
            logger=False, enable_checkpointing=False, enable_model_summary=False, devices=1
        )
        if trainer.world_size > 1:
            raise ValueError(
                "Prediction runs on one device: leave out --trainer.devices and "
                "--trainer.num_nodes."
            )
        where: dict[str, Any] = {"datamodule": data}
        if split is not None:
            where = {"dataloaders": data.evaluation_dataloader(split)}
        kept = _KeepBatches(keep)
        trainer.callbacks.append(kept)  # type: ignore[attr-defined]  # Trainer sets it
        try:
            trainer.predict(self.task, return_predictions=False, **where)
        finally:
            trainer.callbacks.remove(kept)  # type: ignore[attr-defined]
        return kept.kept

    def measure(self, data: ImageDataModule, split: SplitName, *, trainer: Trainer) -> SplitMetrics:
        """Measure the task on the validation or the test split, on all devices of the trainer."""
        run = trainer.validate if split == "val" else trainer.test
        (values,) = run(self.task, datamodule=data, verbose=False)
        confusion = self.task.confusion
        classes = [] if confusion is None else class_metrics(confusion, self.class_names)
        return SplitMetrics(dict(values), classes)

    @torch.inference_mode()
    def _predict(self, images: Sequence[ImageInput]) -> list[Prediction]:
        pixels = torch.stack([self.transform(self._decode(image)) for image in images])
        batch = {"images": pixels.to(self.task.device), "paths": images}
        found = self.task.predict_step(batch, 0)["probabilities"]  # (B, num_classes)
        predictions = []
        for probabilities in found.tolist():
            named = zip(self.class_names, probabilities, strict=True)
            ranked = sorted(named, key=lambda pair: -pair[1])
            predictions.append(Prediction(ranked[0][0], dict(ranked)))
        return predictions

    def _decode(self, image: ImageInput) -> Image.Image:
        if isinstance(image, Image.Image):
            return image.convert(self.transform.mode)
        return decode_image(image, mode=self.transform.mode, size=self.transform.decode_size)


def load(checkpoint_path: str | Path) -> Predictor:
    """Load a checkpoint for prediction. It alone is enough: no configuration, no download.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint of tltool.

    Example:
        >>> load("no/such.ckpt")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no checkpoint 'no/such.ckpt'. ...
    """
    return Predictor(ImageTask.load_from_checkpoint(checkpoint_path))
