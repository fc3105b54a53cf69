"""Predictor: a checkpoint that predicts images, directories and splits, and is measured on them."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast, overload

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from tltool._lookup import lookup
from tltool._objective import Objective
from tltool._plain_text import pixel_size
from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.files.directory_listing import check_folder, list_images
from tltool.data.files.folder_layout import describe_files
from tltool.data.files.image_sources import ImageSource, are_several, describe_source
from tltool.data.files.value_range import check_value_range
from tltool.data.transforms.image_transform import ImageTransform
from tltool.data.transforms.normalization import resolve_value_range
from tltool.evaluation.temperature import LEAST_IMAGES
from tltool.inference.augmented_views import VIEWS, TestTimeAugmentation
from tltool.inference.checkpoint_trust import Trust
from tltool.inference.data_prediction import Kept, keep_batches, output_numbers
from tltool.inference.prediction import PredictedImages, Prediction, SplitMetrics, make_prediction
from tltool.inference.source_pixels import batches_of, source_path, source_pixels
from tltool.inference.split_metrics import split_metrics
from tltool.training.image_task import ImageTask

_CAUSE = (
    "Its weights are too large: take an earlier checkpoint, or train with a lower learning rate."
)


class Predictor:
    """A trained task with its preprocessing.

    Args:
        task: The task; it is put into evaluation mode.
        value_range: The pixel values of black and of white, see `ImageDataModule`; ``None`` for
            those of the training.
        source: The checkpoint that it comes from, for messages.
        tta: Test-time augmentation: average the probabilities of each image and its mirror image
            (``flip``), or of it and its four corners (``five_crops``); see `VIEWS`.
        trust: What the checkpoint knows of its limits, which then is part of each `Prediction`, but
            not with ``tta``, of whose averages it knows nothing.
        split_facts: What an export keeps of the split of the checkpoint's run, see `split_facts`;
            ``None`` for nothing.
    """

    def __init__(
        self,
        task: ImageTask,
        *,
        value_range: Sequence[float] | None = None,
        source: str | Path | None = None,
        tta: TestTimeAugmentation = "none",
        trust: Trust | None = None,
        split_facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = task.eval()
        self.source = source
        self.tta = tta
        self.trust = trust if tta == "none" else None
        self.split_facts = split_facts or {}
        self._views = lookup(VIEWS, tta, kind="augmentation")
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
    def temperature(self) -> float:
        """What divides the logits in front of the probabilities, see `fit_temperature`."""
        return self.task.calibration.temperature

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.task.device

    def rejection_threshold(self, risk: float) -> float:
        """Return the confidence below which to reject, so that the rest is wrong at most so often.

        See `RejectionCurve.threshold_for`; the curve is of the validation images of the run.

        Raises:
            ValueError: If the checkpoint has no such curve, the images do not show that risk, or
                probabilities are averaged over views, of which it knows nothing.
        """
        curve = self.task.calibration.curve
        if self.tta != "none":
            raise ValueError(
                f"The risk was measured without test-time augmentation. Leave out `tta: {self.tta}`"
                ", or set a threshold of your own."
            )
        if curve is None:
            raise ValueError(
                f"{self._name} does not know how often it is wrong: it was fitted with `calibrate: "
                f"false`, by an older version, or with fewer than {LEAST_IMAGES} validation images."
                " Set a threshold of your own (--reject_below 0.9)."
            )
        return curve.threshold_for(risk)

    def to(self, device: str | torch.device) -> Self:
        """Move the network to a device, such as ``cuda``; images follow by themselves."""
        self.task.to(device)
        return self

    def __repr__(self) -> str:
        names = self.class_names
        few = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        source = "" if self.source is None else f"{os.fspath(self.source)!r}, "
        size = pixel_size(self.task.data_config["input_size"])
        scaled = "" if self.temperature == 1 else f"temperature {self.temperature:.2f}, "
        return (
            f"Predictor({source}{self.task.backbone.name}, {size} px, {len(names)} classes ({few}),"
            f" {scaled}on {self.device})"
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
        for batch in batches_of(images, batch_size):
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
        for number, batch in enumerate(batches_of(images, batch_size)):
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

        def keep_numbers(paths: list[str], probabilities: Tensor) -> Kept:
            self._check_numbers(paths, probabilities)
            return keep(paths, probabilities)

        self.task.views = self._views  # Another predictor may share the task.
        return keep_batches(self.task, data, keep_numbers, split, trainer=trainer)

    def measure(self, data: ImageDataModule, split: SplitName, *, trainer: Trainer) -> SplitMetrics:
        """Measure the task on the validation or the test split, on all devices of the trainer.

        The calibration error at the checkpoint's temperature is among the metrics, unless images of
        the split have fitted it.

        Raises:
            ValueError: If the network gives no numbers for the images.
        """
        run = trainer.validate if split == "val" else trainer.test
        (values,) = run(self.task, datamodule=data, verbose=False)
        loss = values[f"{split}/loss"]
        if not math.isfinite(loss):
            raise ValueError(f"{self._name} gives no numbers: its {split}/loss is {loss}. {_CAUSE}")
        return split_metrics(self.task, data, split, values)

    def outputs(self, batch: dict[str, Any]) -> Tensor:
        """Return the probabilities ``(B, num_classes)``, or numbers ``(B, 1)``, of a batch.

        Args:
            batch: Its prepared ``images`` on the device of the network, or their ``features``.
        """
        self.task.views = self._views  # Another predictor may share the task.
        return output_numbers(self.task.predict_step(batch, 0))

    @torch.inference_mode()
    def _predict(self, images: Sequence[ImageSource], first: int = 0) -> list[Prediction]:
        pixels = source_pixels(images, self.transform, first=first)
        batch: dict[str, Any] = {"images": pixels.to(self.device), "paths": images}
        if self.trust is not None:  # By a hook, calls in several threads would mix their images.
            batch["features"] = self.task.backbone(batch.pop("images"))
        found = self.outputs(batch)
        self._check_numbers(images, found)
        kind, names = self.task.prediction_kind, self.class_names
        unknown: list[dict[str, Any]] = [{}] * len(found)
        if self.trust is not None:
            unknown = self.trust.judge(batch["features"], found)
        return [
            make_prediction(output, names, kind, source_path(image), **judged)
            for image, output, judged in zip(images, found, unknown, strict=True)
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
