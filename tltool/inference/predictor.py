"""A checkpoint as an object that takes photos and gives class names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import torch
from PIL import Image

from tltool.data.files.decoding import decode_image
from tltool.data.files.directory_listing import list_images
from tltool.data.transforms.image_transform import ImageTransform
from tltool.training.image_task import ImageTask

Photo = str | Path | Image.Image


@dataclass(frozen=True)
class Prediction:
    """What a photo shows.

    Attributes:
        label: The most probable class.
        probabilities: Probability of each class by name, the most probable first.
    """

    label: str
    probabilities: dict[str, float]


class Predictor:
    """A trained task with its preprocessing.

    Args:
        task: The task; it is put into evaluation mode.
    """

    def __init__(self, task: ImageTask) -> None:
        self.task = task.eval()
        self.transform = ImageTransform(task.data_config)

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too: one file wins
        self, photos: Photo, *, batch_size: int = ...
    ) -> Prediction: ...
    @overload
    def predict(self, photos: Sequence[Photo], *, batch_size: int = ...) -> list[Prediction]: ...
    def predict(
        self, photos: Photo | Sequence[Photo], *, batch_size: int = 32
    ) -> Prediction | list[Prediction]:
        """Predict the class of one photo, or of several.

        Args:
            photos: A file, a Pillow image, or a sequence of them. For a folder, see
                `predict_folder`.
            batch_size: Number of photos that pass through the network at once.

        Returns:
            One prediction for one photo, a list for a sequence.

        Raises:
            ValueError: If a file cannot be decoded; the message names it.
        """
        if isinstance(photos, str | Path | Image.Image):
            return self._predict([photos])[0]
        return [
            prediction
            for start in range(0, len(photos), batch_size)
            for prediction in self._predict(photos[start : start + batch_size])
        ]

    def predict_folder(self, folder: str | Path, *, batch_size: int = 32) -> dict[str, Prediction]:
        """Predict all photos in a folder and below, by path."""
        paths = [str(path) for path in list_images(Path(folder))]
        return dict(zip(paths, self.predict(paths, batch_size=batch_size), strict=True))

    @torch.inference_mode()
    def _predict(self, photos: Sequence[Photo]) -> list[Prediction]:
        images = torch.stack([self.transform(self._decode(photo)) for photo in photos])
        logits = self.task(images.to(self.task.device))  # (B, num_classes)
        return [self._describe(row) for row in logits.float().softmax(dim=-1).tolist()]

    def _decode(self, photo: Photo) -> Image.Image:
        if isinstance(photo, Image.Image):
            return photo.convert(self.transform.mode)
        return decode_image(photo, mode=self.transform.mode, size=self.transform.decode_size)

    def _describe(self, probabilities: Sequence[float]) -> Prediction:
        named = zip(self.task.class_names, probabilities, strict=True)
        ranked = sorted(named, key=lambda pair: -pair[1])
        return Prediction(ranked[0][0], dict(ranked))


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
